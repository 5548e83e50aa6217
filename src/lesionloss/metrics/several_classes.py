"""Several lesion classes in one label map: a Case for each, and means over classes with their number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import DataError, UsageError
from lesionloss.metrics.array_checks import as_array
from lesionloss.metrics.case import Case
from lesionloss.metrics.metric_registry import choose


@dataclass(frozen=True)
class ClassMean:
    """Mean over the `n` of `of` classes in which the metric is defined; NaN if there is none."""

    value: float
    n: int
    of: int


@with_checked_types
def class_cases(
    prediction: Any, reference: Any, *, spacing_mm: Sequence[float], classes: Sequence[int], ignore: Any = None
) -> dict[int, Case]:
    """A Case for each class of two label maps.

    Args:
        prediction: Integers, `*space`; labels that are not in `classes` are background.
        reference: The same.
        spacing_mm: Voxel size in mm along each axis.
        classes: Labels.
        ignore: A mask; these voxels are ignored.

    Raises:
        DataError: for arrays that are invalid or hold no integers.
    """
    maps = {"prediction": as_array("prediction", prediction), "reference": as_array("reference", reference)}
    for name, labels in maps.items():
        if labels.dtype.kind not in "iub":
            raise DataError(f"{name}: expected integer labels, got dtype {labels.dtype}; take the argmax first")
    return {
        label: Case(maps["prediction"] == label, maps["reference"] == label, spacing_mm=spacing_mm, ignore=ignore)
        for label in classes
    }


@with_checked_types
def score_classes(cases: Mapping[int, Case], names: Sequence[str]) -> dict[int, dict[str, float]]:
    """Raw values of each metric in each class.

    Raises:
        UsageError: as `score`.
    """
    chosen = [choose(text) for text in names]
    return {label: {each.text: each.value(case) for each in chosen} for label, case in cases.items()}


def mean_of_defined(values: Sequence[float], weights: Sequence[float] = ()) -> ClassMean:
    """Mean over the values that are not NaN, with one weight each or equal ones; an infinite one makes it infinite.

    A value of weight 0 is left out.
    """
    pairs = zip(values, weights or [1.0] * len(values), strict=True)
    defined = [(value, weight) for value, weight in pairs if weight > 0 and not math.isnan(value)]
    if not defined:
        return ClassMean(math.nan, 0, len(values))
    known, shares = zip(*defined, strict=True)
    mean = np.average(known, weights=shares if weights else None)
    return ClassMean(float(mean), len(defined), len(values))


def check_class_weights(weights: Sequence[float], classes: Sequence[int | str]) -> tuple[float, ...]:
    """The weights of classes in a mean, one for each; none: equal ones.

    Raises:
        UsageError: there are more or fewer than classes, one is negative or not finite, or all are 0.
    """
    wrong = len(weights) != len(classes) or not all(0 <= weight < math.inf for weight in weights) or not sum(weights)
    if weights and wrong:
        raise UsageError(
            f"expected one weight of 0 or more for each of {len(classes)} classes, not all 0; got {list(weights)}"
        )
    return tuple(map(float, weights))


@with_checked_types
def class_mean(cases: Mapping[int, Case], name: str, weights: Sequence[float] = ()) -> ClassMean:
    """Mean of a metric over the classes where it is defined; an infinite value makes the mean infinite.

    Args:
        cases: A case for each class.
        name: A metric, with options or without.
        weights: One for each class, in the order of `cases`; none: equal ones.

    Raises:
        UsageError: for an unknown metric, and as `check_class_weights`.
    """
    chosen = choose(name)
    return mean_of_defined([chosen.value(case) for case in cases.values()], check_class_weights(weights, [*cases]))


def mdice(cases: Mapping[int, Case], weights: Sequence[float] = ()) -> ClassMean:
    """Mean Dice over the classes present in prediction or reference of one scan (Hosseini et al., TopK Dice)."""
    return class_mean(cases, "dice", weights)


def miou(cases: Mapping[int, Case], weights: Sequence[float] = ()) -> ClassMean:
    """Mean Jaccard index over the classes present in prediction or reference of one scan (Hosseini et al.)."""
    return class_mean(cases, "jaccard", weights)
