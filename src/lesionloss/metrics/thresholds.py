"""What is lesion at a threshold; recall, precision and Dice over thresholds; and the choice of a threshold.

Choose a threshold on one set and apply it to another: on the set where it was chosen, its scores are too good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import DataError, UsageError
from lesionloss.metrics.array_checks import Floats, Mask, as_array, as_mask, as_probability, same_shape

Counts = NDArray[np.int64]


@with_checked_types
def is_lesion(probability: NDArray[Any], threshold: float) -> Mask:
    """Decide which voxels are lesion: those whose probability is at least the threshold.

    Every mask of a probability map is made by this function. The map is compared in its own precision, so that a
    threshold of 0.3 includes the float32 that is nearest to 0.3.

    Args:
        probability: Floats from 0 to 1, of any shape.
        threshold: A number from 0 to 1.

    Returns:
        A mask of the same shape.
    """
    return np.asarray(probability >= float(threshold), dtype=np.bool_)


def _shares(part: Counts, whole: Counts) -> Floats:
    shares: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares


@dataclass(frozen=True)
class ThresholdCounts:
    """Voxel counts of one case at each of T ascending thresholds, all of shape (T,)."""

    thresholds: Floats
    tp: Counts
    fp: Counts
    fn: Counts

    @property
    def recall(self) -> Floats:
        """Shape (T,); NaN if the reference is empty."""
        return _shares(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> Floats:
        """Shape (T,); NaN where nothing is predicted."""
        return _shares(self.tp, self.tp + self.fp)

    @property
    def dice(self) -> Floats:
        """Shape (T,); NaN where both masks are empty."""
        return _shares(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class CurvePoint:
    """Means over cases at one threshold, each over the `n` cases in which it is defined."""

    threshold: float
    recall: float
    recall_n: int
    precision: float
    precision_n: int
    dice: float
    dice_n: int


@with_checked_types
def threshold_range(text: str) -> Floats:
    """Thresholds from a text such as "0.05:0.95:0.05" (from, up to and including, step).

    Raises:
        UsageError: for another form, or values outside [0, 1].
    """
    try:
        first, last, step = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise UsageError(f"thresholds: expected FROM:TO:STEP such as 0.05:0.95:0.05, got {text!r}") from error
    if not (0 <= first <= last <= 1 and step > 0):
        raise UsageError(f"thresholds: expected 0 <= FROM <= TO <= 1 and STEP > 0, got {text!r}")
    return np.round(np.arange(first, last + step / 2, step), 10)


@with_checked_types
def count_thresholds(
    probability: Any, reference: Any, thresholds: Sequence[float] | Floats, *, ignore: Any = None
) -> ThresholdCounts:
    """Count the voxels of one case at all thresholds in one pass, by the rule of `is_lesion`.

    Args:
        probability: A map of floats in [0, 1], `*space`.
        reference: A mask of the same shape.
        thresholds: Ascending, shape (T,).
        ignore: A mask; these voxels are ignored.

    Raises:
        DataError: for invalid arrays, as Case does.
        UsageError: for thresholds that don't ascend.
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    if levels.ndim != 1 or levels.size == 0 or np.any(np.diff(levels) <= 0):
        raise UsageError("thresholds: expected at least one, in ascending order")
    given = as_array("probability", probability)
    if given.dtype.kind != "f":
        raise DataError(f"probability: expected floats from 0 to 1, got dtype {given.dtype}; thresholds need the map")
    same_shape("reference", as_array("reference", reference), given.shape)
    if ignore is not None:
        same_shape("ignore", as_array("ignore", ignore), given.shape)
    counted = np.ones(given.shape, dtype=np.bool_) if ignore is None else ~as_mask("ignore", ignore)
    values = as_probability("probability", given)[counted]
    lesion = as_mask("reference", reference)[counted]
    passed = np.searchsorted(levels.astype(given.dtype), values, side="right")

    def at_least(which: NDArray[np.bool_]) -> Counts:
        return np.bincount(passed[which], minlength=levels.size + 1)[::-1].cumsum()[::-1][1:]

    tp = at_least(lesion)
    return ThresholdCounts(levels, tp, at_least(~lesion), int(lesion.sum()) - tp)


def _mean(values: Floats) -> tuple[float, int]:
    defined = values[~np.isnan(values)]
    return (float(defined.mean()) if defined.size else float("nan")), int(defined.size)


def mean_curve(cases: Sequence[ThresholdCounts]) -> list[CurvePoint]:
    """Means over cases at each threshold, with the number of cases behind each mean.

    Raises:
        UsageError: for no case.
    """
    if not cases:
        raise UsageError("thresholds: expected at least one case")
    recall, precision, dice = (
        np.stack([getattr(case, name) for case in cases]) for name in ("recall", "precision", "dice")
    )
    return [
        CurvePoint(float(threshold), *_mean(recall[:, i]), *_mean(precision[:, i]), *_mean(dice[:, i]))
        for i, threshold in enumerate(cases[0].thresholds)
    ]


def reaching_recall(curve: Sequence[CurvePoint], wanted: float) -> CurvePoint:
    """The highest threshold whose mean recall is at least `wanted`.

    Raises:
        UsageError: if none reaches it.
    """
    return _reaching([point for point in curve if point.recall >= wanted], "recall", wanted, curve)[-1]


def reaching_precision(curve: Sequence[CurvePoint], wanted: float) -> CurvePoint:
    """The lowest threshold whose mean precision is at least `wanted`.

    Raises:
        UsageError: if none reaches it.
    """
    return _reaching([point for point in curve if point.precision >= wanted], "precision", wanted, curve)[0]


def _reaching(points: list[CurvePoint], what: str, wanted: float, curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    if not points:
        low, high = curve[0].threshold, curve[-1].threshold
        raise UsageError(
            f"no threshold from {low:g} to {high:g} reaches a mean {what} of {wanted:g}; try a lower value"
        )
    return points
