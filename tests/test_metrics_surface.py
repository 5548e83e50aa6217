"""Boundary metrics: against all pairs of voxels, and the masks on which the libraries disagree."""

import math

import numpy as np
import pytest

from lesionloss.metrics import Case, score
from metrics_by_hand import directed_mm, percentile, random_pair

PAIRS = 1000


def blocks(shape, *boxes):
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[tuple(slice(*extent) for extent in box)] = True
    return mask


def value(name, pred, ref, spacing=(1, 1, 1)):
    return score(Case(pred, ref, spacing_mm=spacing), [name])[name]


@pytest.mark.parametrize("part", range(4))
def test_equal_to_all_pairs_of_border_voxels(part):
    for number in range(part * PAIRS // 4, (part + 1) * PAIRS // 4):
        pred, ref, spacing = random_pair(number)
        forth, back = directed_mm(pred, ref, spacing), directed_mm(ref, pred, spacing)
        wanted = {
            "hd95": max(percentile(forth, 95), percentile(back, 95)),
            "assd": (sum(forth) + sum(back)) / (len(forth) + len(back)),
        }
        got = score(Case(pred, ref, spacing_mm=spacing), list(wanted))
        assert got == pytest.approx(wanted, rel=0, abs=1e-9), f"pair {number}, {pred.shape}, {spacing}"


def test_m2_one_voxel_beside_its_neighbour():
    pred, ref = blocks((5, 5, 5), [(2, 3)] * 3), blocks((5, 5, 5), [(3, 4), (2, 3), (2, 3)])
    assert value("assd", pred, ref) == 1.0
    assert value("hd95", pred, ref) == 1.0


def test_m3_a_missed_lesion_is_not_near_zero_in_the_mean():
    kept = [(5, 11)] * 3
    pred, ref = blocks((40, 40, 40), kept), blocks((40, 40, 40), kept, [(24, 26)] * 3)
    assert value("hd95", pred, ref) == pytest.approx(0.05 * 14 * math.sqrt(3))
    assert value("assd", pred, ref) == pytest.approx(0.644, abs=5e-4)
    assert value("dice", pred, ref) == pytest.approx(0.982, abs=5e-4)


def test_m4_millimetres_not_voxels():
    pred = blocks((20, 20, 20), [(5, 9), (5, 9), (5, 7)])
    shifted = blocks((20, 20, 20), [(5, 9), (5, 9), (6, 8)])
    assert value("assd", pred, shifted, (0.9, 0.9, 3.0)) == pytest.approx(1.5)
    assert value("assd", pred, shifted) == pytest.approx(0.5)


def test_m5_voxels_at_the_border_of_the_image_are_border():
    pred, ref = blocks((20, 20, 20), [(0, 4)] * 3), blocks((20, 20, 20), [(0, 5)] * 3)
    assert value("assd", pred, ref) == pytest.approx(0.5565, abs=5e-5)


@pytest.mark.parametrize("name", ["hd95", "assd"])
def test_m6_a_missed_patient_is_infinitely_far(name):
    lesion, nothing = blocks((9, 9, 9), [(2, 5)] * 3), blocks((9, 9, 9))
    assert value(name, nothing, lesion) == math.inf
    assert value(name, lesion, nothing) == math.inf
    assert math.isnan(value(name, nothing, nothing))
