"""Several lesion classes in one label map: a Case for each, and means over classes with their number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import DataError
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


def mean_of_defined(values: Sequence[float]) -> ClassMean:
    """Mean over the values that are not NaN; an infinite one makes the mean infinite."""
    defined = [value for value in values if not math.isnan(value)]
    return ClassMean(float(np.mean(defined)) if defined else math.nan, len(defined), len(values))


@with_checked_types
def class_mean(cases: Mapping[int, Case], name: str) -> ClassMean:
    """Mean of a metric over the classes where it is defined; an infinite value makes the mean infinite."""
    chosen = choose(name)
    return mean_of_defined([chosen.value(case) for case in cases.values()])


def mdice(cases: Mapping[int, Case]) -> ClassMean:
    """Mean Dice over the classes present in prediction or reference of one scan (Hosseini et al., TopK Dice)."""
    return class_mean(cases, "dice")


def miou(cases: Mapping[int, Case]) -> ClassMean:
    """Mean Jaccard index over the classes present in prediction or reference of one scan (Hosseini et al.)."""
    return class_mean(cases, "jaccard")
