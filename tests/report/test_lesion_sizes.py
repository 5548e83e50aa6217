"""Lesions found by size: differences with patients as clusters, by hand."""

import numpy as np
import pytest

from known import known
from lesionloss.metrics.lesion_table import SIZE_EDGES_MM3
from lesionloss.metrics.thresholds import ThresholdCounts
from lesionloss.report.case_maps import CaseMaps
from lesionloss.report.lesion_sizes import size_differences
from lesionloss.report.probability_maps import CalibrationCounts, MapCounts
from lesionloss.statistics.evidence import mean_interval

NONE = np.zeros(0, dtype=int)
SMALL, LARGE = 10, 1000  # voxels of 1 mm3: the first and the last size


def maps_of(highest, voxels):
    """One map per (loss, case, seed) with the highest probability in each lesion."""
    nothing = ThresholdCounts(np.zeros(0), NONE, NONE, NONE), CalibrationCounts(NONE, NONE, np.zeros(0))
    counts = [
        MapCounts(loss, case, seed, 1, *nothing, np.float32(values)) for (loss, case, seed), values in highest.items()
    ]
    sizes = {case: np.array(of_case) for case, of_case in voxels.items()}
    return CaseMaps(tuple(counts), sizes, dict.fromkeys(voxels, 1.0), (), (), (), (), seeds_left_out=False)


def test_every_patient_counts_once_however_many_lesions_it_has():
    voxels = {"p1": [SMALL] * 4, "p2": [SMALL], "p3a": [SMALL, LARGE], "p3b": [SMALL]}
    hit, miss = 0.9, 0.1
    highest = {
        ("a", "p1", 1): [miss] * 4, ("a", "p2", 1): [hit], ("a", "p3a", 1): [miss, hit], ("a", "p3b", 1): [hit],
        ("b", "p1", 1): [hit, hit, hit, miss], ("b", "p1", 2): [hit, hit, miss, miss], ("b", "p2", 1): [miss],
        ("b", "p3a", 1): [hit, hit], ("b", "p3b", 1): [hit],
    }  # fmt: skip
    patient_of = {"p3a": "p3", "p3b": "p3"}
    found = size_differences(maps_of(highest, voxels), {"a": 0.5, "b": 0.5}, ["a", "b"], "a", patient_of)
    assert len(found) == len(SIZE_EDGES_MM3) + 1
    small, large = (next(d for d in found if d.above_mm3 < size <= d.up_to_mm3) for size in (SMALL, LARGE))
    values = np.array([5 / 8 - 0, 0 - 1, 1 - 0.5])  # p1 (two seeds of four lesions), p2, p3 (two cases)
    assert (small.patients, small.mean) == (3, pytest.approx(values.mean()))
    expected = known(mean_interval(values))
    assert known(small.interval).high == pytest.approx(min(1.0, expected.high))
    assert (large.patients, large.mean, large.interval) == (1, 0.0, None)
    assert [d.mean for d in found[1:-1]] == [None] * (len(found) - 2)


def test_without_maps_of_the_baseline_there_is_no_difference():
    maps = maps_of({("b", "p1", 1): [0.9]}, {"p1": [SMALL]})
    assert size_differences(maps, {"b": 0.5}, ["b"], "a", {}) == ()
