"""Counts at many thresholds, and the threshold that reaches a wanted recall or precision."""

import math

import numpy as np
import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case
from lesionloss.metrics.thresholds import (
    count_thresholds,
    mean_curve,
    reaching_precision,
    reaching_recall,
    threshold_range,
)

THRESHOLDS = threshold_range("0.05:0.95:0.05")


def maps(number, kind=np.float32):
    generator = numpy_generator("thresholds", number)
    reference = generator.random((12, 11, 10)) < 0.05
    rounded = np.round(np.clip(generator.normal(0.25 + 0.4 * reference, 0.2), 0, 1), 2)
    return rounded.astype(kind), reference


def counts(number, thresholds):
    probability, reference = maps(number)
    return count_thresholds(probability, reference, thresholds)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_each_threshold_counts_as_a_case_does(kind):
    """The maps hold values exactly at the thresholds."""
    probability, reference = maps(0, kind)
    ignore = numpy_generator("ignored").random(reference.shape) < 0.1
    counted = count_thresholds(probability, reference, THRESHOLDS, ignore=ignore)
    for i, threshold in enumerate(THRESHOLDS):
        case = Case(probability, reference, spacing_mm=(1, 1, 1), ignore=ignore, threshold=float(threshold))
        assert (counted.tp[i], counted.fp[i], counted.fn[i]) == (case.counts.tp, case.counts.fp, case.counts.fn)


def test_ranges():
    assert THRESHOLDS.tolist() == pytest.approx([i / 20 for i in range(1, 20)])
    assert threshold_range("0.5:0.5:1").tolist() == [0.5]
    for text in ("0.5", "0.9:0.1:0.1", "0:1:0", "a:b:c", "0:2:0.1", "nan:1:0.1"):
        with pytest.raises(UsageError, match="thresholds: expected"):
            threshold_range(text)


def test_means_say_of_how_many():
    high, reference = maps(1)
    empty = np.zeros_like(reference)
    curve = mean_curve([count_thresholds(high, reference, [0.5, 1.0]), count_thresholds(high * 0.6, empty, [0.5, 1.0])])
    assert (curve[0].recall_n, curve[0].precision_n, curve[0].dice_n) == (1, 2, 2)
    assert curve[1].recall_n == 1
    assert math.isnan(count_thresholds(high, empty, [0.5]).recall[0])


def test_a_threshold_chosen_on_one_set_and_applied_to_another():
    curve = mean_curve([counts(number, THRESHOLDS) for number in range(3)])
    chosen = reaching_recall(curve, 0.8)
    assert chosen.recall >= 0.8
    assert all(point.recall < 0.8 for point in curve if point.threshold > chosen.threshold)
    precise = reaching_precision(curve, 0.7)
    assert precise.precision >= 0.7
    assert all(not point.precision >= 0.7 for point in curve if point.threshold < precise.threshold)
    other = mean_curve([counts(number, [chosen.threshold]) for number in range(3, 13)])
    assert other[0].recall == pytest.approx(chosen.recall, abs=0.1)


def test_unreachable_values_are_refused():
    curve = mean_curve([counts(0, THRESHOLDS)])
    with pytest.raises(UsageError, match=r"no threshold from 0\.05 to 0\.95 reaches a mean recall of 1\.1"):
        reaching_recall(curve, 1.1)
    with pytest.raises(UsageError, match=r"mean precision of 1\.1"):
        reaching_precision(curve, 1.1)
    with pytest.raises(UsageError, match="at least one case"):
        mean_curve([])
    with pytest.raises(UsageError, match="ascending"):
        counts(0, [0.5, 0.4])
    with pytest.raises(DataError, match="thresholds need the map"):
        count_thresholds(maps(0)[1], maps(0)[1], [0.5])


def test_ignored_voxels_lie_on_the_grid_of_the_map():
    probability, reference = np.array([[0.2, 0.8]]), np.array([[False, True]])
    with pytest.raises(DataError, match=r"ignore: shape \(2, 1\) differs from the prediction's \(1, 2\)"):
        count_thresholds(probability, reference, [0.5], ignore=np.zeros((2, 1), bool))
    counts = count_thresholds(probability, reference, [0.5], ignore=np.array([[False, True]]))
    assert (counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()) == ([0], [0], [0])


def test_a_threshold_may_be_0_or_1():
    probability, reference = np.array([[0.0, 1.0]]), np.array([[False, True]])
    for threshold, voxels in ((0.0, 2), (1.0, 1)):
        assert Case(probability, reference, spacing_mm=(1, 1), threshold=threshold).prediction.sum() == voxels
    for threshold in (-0.01, 1.01):
        with pytest.raises(DataError, match="threshold: expected a number from 0 to 1"):
            Case(probability, reference, spacing_mm=(1, 1), threshold=threshold)
