"""Boundary metrics: against all pairs of voxels, and the masks on which the libraries disagree."""

import math

import numpy as np
import pytest

from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, choose, score
from lesionloss.metrics.borders import _border_by_gathers, _border_by_slices
from lesionloss.metrics.metric_registry import penalised
from metrics_by_hand import border, directed_mm, m1, percentile, random_pair, sparse_mask

PAIRS = 1000


def blocks(shape, *boxes):
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[tuple(slice(*extent) for extent in box)] = True
    return mask


def value(name, pred, ref, spacing=(1, 1, 1)):
    return score(Case(pred, ref, spacing_mm=spacing), [name])[name]


def by_hand(pred, ref, spacing):
    forth, back = directed_mm(pred, ref, spacing), directed_mm(ref, pred, spacing)
    pooled = [*forth, *back]
    return {
        "hd": max(pooled),
        "hd(percent=0)": max(min(forth), min(back)),
        "hd(percent=50)": max(percentile(forth, 50), percentile(back, 50)),
        "hd95": max(percentile(forth, 95), percentile(back, 95)),
        "hd95_pooled": percentile(pooled, 95),
        "asd_pred_to_ref": sum(forth) / len(forth),
        "asd_ref_to_pred": sum(back) / len(back),
        "assd": sum(pooled) / len(pooled),
        "nsd(tolerance_mm=0)": sum(distance == 0 for distance in pooled) / len(pooled),
        "nsd(tolerance_mm=1.4)": sum(distance <= 1.4 + 1e-9 for distance in pooled) / len(pooled),
    }


@pytest.mark.parametrize("part", range(4))
def test_equal_to_all_pairs_of_border_voxels(part):
    for number in range(part * PAIRS // 4, (part + 1) * PAIRS // 4):
        pred, ref, spacing = random_pair(number)
        wanted = by_hand(pred, ref, spacing)
        got = score(Case(pred, ref, spacing_mm=spacing), list(wanted))
        assert got == pytest.approx(wanted, rel=0, abs=1e-9), f"pair {number}, {pred.shape}, {spacing}"


@pytest.mark.parametrize("shape", [(40, 30, 20), (1, 30, 30), (50, 60), (1, 7)])
def test_both_searches_for_the_border_agree(shape):
    """Compact masks are sliced, scattered ones looked up voxel by voxel; which is taken depends on the density."""
    for number in range(30):
        mask = sparse_mask(numpy_generator("border", *shape, number), shape)
        wanted = border(mask)
        for find in (_border_by_slices, _border_by_gathers):
            assert [tuple(voxel) for voxel in find(mask).tolist()] == wanted


def test_scattered_voxels_in_a_large_image():
    pred, ref = np.zeros((2, 60, 50, 40), dtype=bool)
    generator = numpy_generator("scattered")
    for mask in (pred, ref):
        mask[tuple(generator.integers(0, size, 40) for size in mask.shape)] = True
        mask[10:13, 10:13, 10:13] = True
    wanted = by_hand(pred, ref, (0.9, 0.9, 3.0))
    for change in (np.ascontiguousarray, np.asfortranarray):
        case = Case(change(pred), change(ref), spacing_mm=(0.9, 0.9, 3.0))
        assert score(case, list(wanted)) == pytest.approx(wanted, rel=0, abs=1e-9)


def test_m1_false_positives_far_away():
    """Twelve false positives of 2 x 2 x 2 beside an exact 15 x 15 x 15 lesion, in front of its faces."""
    kept = [(60, 75)] * 3
    false = [
        [(28, 30) if axis == along else (61 + 3 * i, 63 + 3 * i) for axis in range(3)]
        for along in range(3)
        for i in range(4)
    ]
    ref = blocks((80, 80, 80), kept)
    pred = blocks((80, 80, 80), kept, *false)
    assert value("dice", pred, ref) == pytest.approx(0.986, abs=5e-4)
    assert value("hd95_pooled", pred, ref) == 0.0
    assert value("hd95", pred, ref) == 31.0
    assert value("asd_ref_to_pred", pred, ref) == 0.0
    assert value("asd_pred_to_ref", pred, ref) == pytest.approx(12 * 4 * (31 + 32) / (15**3 - 13**3 + 12 * 8))
    assert value("asd_pred_to_ref_surfel", pred, ref) > 1.5 * value("asd_pred_to_ref", pred, ref)


def test_m1_the_published_figures():
    pred, ref = m1()
    wanted = {
        "dice": 0.986,
        "hd95_pooled": 0.0,
        "hd95": 34.766,
        "hd95_surfel": 38.601,
        "asd_pred_to_ref": 2.817,
        "asd_ref_to_pred": 0.0,
        "assd": 1.464,
        "asd_pred_to_ref_surfel": 4.770,
        "asd_ref_to_pred_surfel": 0.0,
    }
    got = score(Case(pred, ref, spacing_mm=(1, 1, 1)), list(wanted))
    assert got == pytest.approx(wanted, rel=0, abs=5e-4)


def test_m2_one_voxel_beside_its_neighbour():
    pred, ref = blocks((5, 5, 5), [(2, 3)] * 3), blocks((5, 5, 5), [(3, 4), (2, 3), (2, 3)])
    assert value("assd", pred, ref) == value("asd_pred_to_ref", pred, ref) == value("asd_ref_to_pred", pred, ref) == 1.0
    assert value("asd_pred_to_ref_surfel", pred, ref) == value("asd_ref_to_pred_surfel", pred, ref) == 0.5
    assert value("hd95", pred, ref) == 1.0


def test_m3_a_missed_lesion_is_not_near_zero_in_the_mean():
    kept = [(5, 11)] * 3
    pred, ref = blocks((40, 40, 40), kept), blocks((40, 40, 40), kept, [(24, 26)] * 3)
    assert value("hd95", pred, ref) == pytest.approx(0.05 * 14 * math.sqrt(3))
    assert value("assd", pred, ref) == pytest.approx(0.644, abs=5e-4)
    assert value("dice", pred, ref) == pytest.approx(0.982, abs=5e-4)
    assert value("hd95_pooled", pred, ref) == value("asd_pred_to_ref", pred, ref) == 0.0
    assert value("asd_ref_to_pred", pred, ref) == pytest.approx(1.256, abs=5e-4)
    assert value("hd95_surfel", pred, ref) == pytest.approx(23.728, abs=5e-4)
    assert value("asd_ref_to_pred_surfel", pred, ref) == pytest.approx(1.871, abs=5e-4)
    assert value("asd_pred_to_ref_surfel", pred, ref) == 0.0


def test_m4_millimetres_not_voxels():
    pred = blocks((20, 20, 20), [(5, 9), (5, 9), (5, 7)])
    shifted = blocks((20, 20, 20), [(5, 9), (5, 9), (6, 8)])
    assert value("assd", pred, shifted, (0.9, 0.9, 3.0)) == pytest.approx(1.5)
    assert value("assd", pred, shifted) == pytest.approx(0.5)
    assert value("asd_pred_to_ref_surfel", pred, shifted, (0.9, 0.9, 3.0)) == pytest.approx(0.9286, abs=5e-5)
    assert value("asd_pred_to_ref_surfel", pred, shifted) == pytest.approx(0.5308, abs=5e-5)


def test_m5_voxels_at_the_border_of_the_image_are_border():
    pred, ref = blocks((20, 20, 20), [(0, 5)] * 3), blocks((20, 20, 20), [(0, 4)] * 3)
    assert value("assd", pred, ref) == pytest.approx(0.5565, abs=5e-5)
    assert value("asd_pred_to_ref", pred, ref) == pytest.approx(0.6806, abs=5e-5)
    assert value("asd_ref_to_pred", pred, ref) == pytest.approx(0.3393, abs=5e-5)
    assert value("asd_pred_to_ref_surfel", pred, ref) == pytest.approx(0.5993, abs=5e-5)
    assert value("asd_ref_to_pred_surfel", pred, ref) == pytest.approx(0.4136, abs=5e-5)


@pytest.mark.parametrize("name", ["hd95", "assd"])
def test_m6_a_missed_case_is_infinitely_far(name):
    lesion, nothing = blocks((9, 9, 9), [(2, 5)] * 3), blocks((9, 9, 9))
    assert value(name, nothing, lesion) == math.inf
    assert value(name, lesion, nothing) == math.inf
    assert math.isnan(value(name, nothing, nothing))


def test_distances_in_voxels_do_not_depend_on_the_spacing():
    pred, ref, _ = random_pair(1)
    for name in ("hd", "hd95", "hd95_pooled", "assd", "asd_pred_to_ref", "asd_ref_to_pred"):
        in_voxels = f"{name}(voxels=True)"
        expected = value(name, pred, ref)
        assert value(in_voxels, pred, ref, (0.5, 0.75, 3.0)) == pytest.approx(expected)
        assert value(name, pred, ref, (0.5, 0.75, 3.0)) != pytest.approx(expected)
        assert (choose(in_voxels).unit, choose(name).unit) == ("voxels", "mm")


def test_a_missed_case_costs_the_diagonal_in_voxels():
    case = Case(np.zeros((3, 4, 12), bool), np.ones((3, 4, 12), bool), spacing_mm=(2, 2, 2))
    assert penalised("hd(voxels=True)", choose("hd(voxels=True)").value(case), case) == 13
    assert penalised("hd", math.inf, case) == 26
