"""Runs with several classes: the mean of every loss in every class."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

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
    """One class in one metric."""

    name: str
    losses: tuple[LossInClass, ...]


def mean_over_classes(classes: Sequence[ClassResult], loss: str) -> float | None:
    """The mean of a loss's class means, each class with the same weight; None if a class has none."""
    means = [each.mean for one in classes for each in one.losses if each.loss == loss]
    known = [mean for mean in means if mean is not None]
    return fmean(known) if known and len(known) == len(means) else None


def class_results(scores: MetricScores) -> tuple[ClassResult, ...]:
    """Every class in the order of scores.csv; empty for a run with one class."""
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
        found.append(ClassResult(str(name), tuple(means)))
    return tuple(found)
