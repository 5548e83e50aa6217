"""Runs with several classes: the mean of every loss in every class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lesionloss.report.shown_intervals import within
from lesionloss.runs.metric_scores import MetricScores, patient_values
from lesionloss.statistics.evidence import Interval, mean, mean_interval


@dataclass(frozen=True)
class LossInClass:
    """One loss in one class: mean over the `patients_defined` with a value of the `patients` that have the class."""

    loss: str
    mean: float | None
    interval: Interval | None
    patients_defined: int
    patients: int


@dataclass(frozen=True)
class ClassResult:
    """One class in one metric; `weight`: in the mean over classes."""

    name: str
    losses: tuple[LossInClass, ...]
    weight: float = 1.0


def mean_over_classes(classes: Sequence[ClassResult], loss: str) -> float | None:
    """The mean of a loss's class means, with the weights of the classes; None if a class that counts has none."""
    counted = [(each.mean, one.weight) for one in classes for each in one.losses if each.loss == loss and one.weight]
    known = [mean for mean, _ in counted if mean is not None]
    if not known or len(known) < len(counted):
        return None
    return fmean(known, [weight for _, weight in counted])


def weights_in_words(classes: Sequence[ClassResult]) -> str:
    """The weights of the classes, such as "anterior 2, posterior 1"; empty for equal ones."""
    equal = len({one.weight for one in classes}) < 2
    return "" if equal else ", ".join(f"{one.name} {one.weight:g}" for one in classes)


def declared_weights(plan: Mapping[str, Any]) -> dict[str, float]:
    """The weights of classes that the plan of a run declares; what is none is left out."""
    given = plan.get("class_weights")
    numbers = given.items() if isinstance(given, Mapping) else ()
    return {str(name): float(x) for name, x in numbers if isinstance(x, int | float) and 0 <= x < math.inf}


def class_results(scores: MetricScores, weights: Mapping[str, float] | None = None) -> tuple[ClassResult, ...]:
    """Every class in the order of scores.csv, with its weight (1 if not given); empty for a run with one class."""
    rows = scores.classes
    found = []
    for name in dict.fromkeys(rows["lesion"]):
        means = []
        for loss in scores.losses:
            mine = rows[(rows["lesion"] == name) & (rows["loss"] == loss)]
            values = patient_values(mine)
            patients = int(mine["patient"].nunique())
            interval = within(mean_interval(values), scores.facts.limits)
            means.append(LossInClass(loss, mean(values), interval, len(values), patients))
        found.append(ClassResult(str(name), tuple(means), (weights or {}).get(str(name), 1.0)))
    return tuple(found)
