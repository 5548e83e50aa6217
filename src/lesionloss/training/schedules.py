"""Learning-rate schedules by text: `constant`, `polynomial`, `cosine`, `plateau`; and the progress of the score.

The first three are pure functions of the step. `plateau` also depends on how often the score stopped improving, which
`ScoreProgress` counts; a checkpoint needs nothing else of a schedule.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

from lesionloss.core.ranges import Positive, Range
from lesionloss.training.setting_texts import format_setting, read_setting
from lesionloss.training.trial import TrainingRecipe

BelowOne = Annotated[float, Range(0, 0.999999, above=True)]
Floor = Annotated[float, Range(0, 1)]


class Schedule(Protocol):
    """Anything that gives the factor of the recipe's learning rate."""

    def factor(self, step: int, recipe: TrainingRecipe, drops: int) -> float:
        """Return the factor of a step.

        Args:
            step: The step, from 1.
            recipe: The recipe.
            drops: How often the score has stopped improving.
        """
        ...


@dataclass(frozen=True)
class Constant:
    """The same rate from the first step to the last."""

    def factor(self, step: int, recipe: TrainingRecipe, drops: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Polynomial:
    """(1 - done/steps)^poly_power with the recipe's `poly_power`: from the full rate towards 0 after the last step."""

    def factor(self, step: int, recipe: TrainingRecipe, drops: int) -> float:
        """Return the factor of a step, from 1."""
        return float((1 - (step - 1) / recipe.steps) ** recipe.poly_power)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the full rate to its share `last` (Loshchilov & Hutter 2017), after `warm_up` rising steps."""

    last: Floor = 0.0
    warm_up: Annotated[int, Range(0)] = 0

    def factor(self, step: int, recipe: TrainingRecipe, drops: int) -> float:
        """Return the factor of a step, from 1."""
        if step <= self.warm_up:
            return step / (self.warm_up + 1)
        done = (step - 1 - self.warm_up) / max(1, recipe.steps - self.warm_up)
        return self.last + (1 - self.last) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Plateau:
    """The rate is multiplied by `factor_each` after every `patience` validations in a row without a better score.

    It does not fall below its share `lowest`.
    """

    factor_each: BelowOne = 0.5
    patience: Positive = 5
    lowest: Floor = 0.0

    def factor(self, step: int, recipe: TrainingRecipe, drops: int) -> float:
        """Return the factor after `drops` drops."""
        return max(self.lowest, self.factor_each**drops)


SCHEDULES: Mapping[str, type[Any]] = {
    "constant": Constant,
    "polynomial": Polynomial,
    "cosine": Cosine,
    "plateau": Plateau,
}


def read_schedule(text: str) -> Schedule:
    """Return the schedule that `text` names.

    Raises:
        UsageError: Unknown name or setting, or a value out of range.
    """
    schedule: Schedule = read_setting(text, SCHEDULES, "schedule")
    return schedule


def check_schedule(text: str) -> str:
    """Return the canonical text of a schedule.

    Raises:
        UsageError: As `read_schedule`.
    """
    return format_setting(read_schedule(text), SCHEDULES)


def learning_rate(recipe: TrainingRecipe, step: int, drops: int = 0) -> float:
    """Return the learning rate of a step, from 1, after `drops` drops."""
    return recipe.learning_rate * read_schedule(recipe.schedule).factor(step, recipe, drops)


def progress(recipe: TrainingRecipe, step: int) -> float:
    """Return how far a training run is at a step, from 0 at the first to 1 at the last: for weights of losses."""
    return min(1.0, (step - 1) / max(1, recipe.steps - 1))


@dataclass(frozen=True)
class ScoreProgress:
    """How the validation score has developed.

    Attributes:
        best: The best score so far; higher is better.
        best_step: Its step.
        checks: Validations since then.
        waited: Validations since then or since the last drop of the rate.
        drops: Drops of the rate.
    """

    best: float = -math.inf
    best_step: int = 0
    checks: int = 0
    waited: int = 0
    drops: int = 0

    def after(self, score: float, step: int, schedule: Schedule) -> "ScoreProgress":
        """Return the progress after one more validation. A score that is NaN is no better one."""
        if score > self.best:
            return replace(self, best=score, best_step=step, checks=0, waited=0)
        checked = replace(self, checks=self.checks + 1, waited=self.waited + 1)
        if isinstance(schedule, Plateau) and checked.waited >= schedule.patience:
            return replace(checked, waited=0, drops=self.drops + 1)
        return checked

    def exhausted(self, recipe: TrainingRecipe) -> bool:
        """Return whether the recipe's patience is exhausted."""
        return 0 < recipe.patience <= self.checks
