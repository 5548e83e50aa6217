"""How the learning rate changes: `constant`, `polynomial`, `cosine`, `plateau`; and what decides that it is time.

The first three are pure functions of the step. `plateau` also needs to know how often the score stopped rising, which
`Progress` remembers; it is all that a checkpoint needs of a schedule.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

from lesionloss.core.ranges import Positive, Range
from lesionloss.training.setting_texts import format_record, read_record
from lesionloss.training.trial import Recipe

BelowOne = Annotated[float, Range(0, 0.999999, above=True)]
Floor = Annotated[float, Range(0, 1)]


class Schedule(Protocol):
    """Anything that says by what the recipe's learning rate is multiplied."""

    def factor(self, step: int, recipe: Recipe, drops: int) -> float:
        """The factor of a step, from 1, after the score has stopped rising `drops` times."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same rate from the first step to the last."""

    def factor(self, step: int, recipe: Recipe, drops: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Polynomial:
    """(1 - done/steps)^poly_power with the recipe's `poly_power`: from the full rate towards 0 after the last step."""

    def factor(self, step: int, recipe: Recipe, drops: int) -> float:
        return float((1 - (step - 1) / recipe.steps) ** recipe.poly_power)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the full rate to its share `last` (Loshchilov & Hutter 2017), after `warm_up` rising steps."""

    last: Floor = 0.0
    warm_up: Annotated[int, Range(0)] = 0

    def factor(self, step: int, recipe: Recipe, drops: int) -> float:
        if step <= self.warm_up:
            return step / (self.warm_up + 1)
        done = (step - 1 - self.warm_up) / max(1, recipe.steps - self.warm_up)
        return self.last + (1 - self.last) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Plateau:
    """The rate is multiplied by `factor_each` whenever `patience` looks in a row found no better score.

    It does not fall below its share `lowest`.
    """

    factor_each: BelowOne = 0.5
    patience: Positive = 5
    lowest: Floor = 0.0

    def factor(self, step: int, recipe: Recipe, drops: int) -> float:
        return max(self.lowest, self.factor_each**drops)


KINDS: Mapping[str, type[Any]] = {
    "constant": Constant,
    "polynomial": Polynomial,
    "cosine": Cosine,
    "plateau": Plateau,
}


def read_schedule(text: str) -> Schedule:
    """The schedule that `text` names. Raises UsageError with what is known and allowed."""
    schedule: Schedule = read_record(text, KINDS, "schedule")
    return schedule


def check_schedule(text: str) -> str:
    """The canonical text of a schedule. Raises UsageError as `read_schedule` does."""
    return format_record(read_schedule(text), KINDS)


def learning_rate(recipe: Recipe, step: int, drops: int = 0) -> float:
    """The rate of a step, from 1."""
    return recipe.learning_rate * read_schedule(recipe.schedule).factor(step, recipe, drops)


@dataclass(frozen=True)
class Progress:
    """The best score so far (higher is better) and at which step; looks since then; looks since then or a drop."""

    best: float = -math.inf
    best_step: int = 0
    looks: int = 0
    waited: int = 0
    drops: int = 0

    def after(self, score: float, step: int, schedule: Schedule) -> "Progress":
        """Progress after one more look. A score that is NaN is no better one."""
        if score > self.best:
            return replace(self, best=score, best_step=step, looks=0, waited=0)
        looked = replace(self, looks=self.looks + 1, waited=self.waited + 1)
        if isinstance(schedule, Plateau) and looked.waited >= schedule.patience:
            return replace(looked, waited=0, drops=self.drops + 1)
        return looked

    def exhausted(self, recipe: Recipe) -> bool:
        """Whether the recipe's patience is at its end."""
        return 0 < recipe.patience <= self.looks
