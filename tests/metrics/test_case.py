"""What a Case accepts, refuses and counts."""

from typing import Any

import numpy as np
import pytest
import torch

from lesionloss.core.errors import DataError
from lesionloss.metrics import Case, CaseStatus, VoxelCounts, list_metrics, score

PRED = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
REF = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)


def test_counts_and_status():
    case = Case(PRED, REF, spacing_mm=(1, 2))
    assert case.counts == VoxelCounts(tp=2, fp=1, fn=1, tn=8)
    assert case.status is CaseStatus.OK
    assert case.voxel_mm3 == 2.0
    assert case.diagonal_mm == pytest.approx(np.hypot(3, 8))


@pytest.mark.parametrize(
    ("pred", "ref", "status"),
    [
        (PRED, REF, "ok"),
        (PRED & False, REF, "pred_empty"),
        (PRED, REF & False, "ref_empty"),
        (PRED & False, REF & False, "both_empty"),
    ],
)
def test_four_statuses(pred, ref, status):
    assert Case(pred, ref, spacing_mm=(1, 1)).status == status


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.int64, np.float32])
def test_masks_of_any_kind_are_the_same(kind):
    wanted = Case(PRED, REF, spacing_mm=(1, 1)).counts
    assert Case(PRED.astype(kind), REF.astype(kind), spacing_mm=(1, 1)).counts == wanted
    assert Case(torch.from_numpy(PRED.astype(kind)), REF, spacing_mm=(1, 1)).counts == wanted


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_map_is_lesion_from_the_threshold_on(kind):
    levels = np.array([[0.0, 0.25, 0.5, 1.0]], dtype=kind)
    reference = np.array([[False, False, True, True]])
    assert Case(levels, reference, spacing_mm=(1, 1)).counts == VoxelCounts(tp=2, fp=0, fn=0, tn=2)
    assert Case(levels, reference, spacing_mm=(1, 1), threshold=0.25).counts.fp == 1


def test_any_layout_in_memory_is_the_same():
    generator = np.random.default_rng(3)
    pred, ref = generator.random((2, 12, 9, 7)) < 0.05
    names = ["dice", "hd95", "assd", "lesion_f1"]
    wanted = score(Case(pred, ref, spacing_mm=(1, 2, 3)), names)
    for change in (np.asfortranarray, lambda mask: np.pad(mask, 3)[3:-3, 3:-3, 3:-3]):
        assert score(Case(change(pred), ref, spacing_mm=(1, 2, 3)), names) == wanted
        assert score(Case(change(pred), change(ref), spacing_mm=(1, 2, 3)), names) == wanted


def test_ignored_voxels_count_for_nothing():
    ignore = PRED != REF
    case = Case(PRED, REF, spacing_mm=(1, 1), ignore=ignore)
    assert case.counts == VoxelCounts(tp=2, fp=0, fn=0, tn=8)
    assert score(case, ["dice", "hd95"]) == {"dice": 1.0, "hd95": 0.0}


@pytest.mark.parametrize(
    ("pred", "ref", "spacing", "message"),
    [
        (PRED, REF[:2], (1, 1), r"reference: shape \(2, 4\) differs from the prediction's \(3, 4\)"),
        (PRED.astype(np.uint8) * 255, REF, (1, 1), r"prediction: .*0 to 255"),
        (PRED, REF * 2, (1, 1), r"reference: .*0 to 2"),
        (PRED, REF * 0.4, (1, 1), r"reference: .*0 to 0.4"),
        (PRED * 1.5, REF, (1, 1), r"probabilities from 0 to 1.*1.5"),
        (PRED * -1.0, REF, (1, 1), r"probabilities from 0 to 1"),
        (PRED * np.nan, REF, (1, 1), r"probabilities from 0 to 1, got values from nan"),
        (PRED, REF, (1, 1, 1), r"spacing_mm: expected 2 positive"),
        (PRED, REF, (1, 0), r"spacing_mm"),
        (PRED, REF, (1, float("nan")), r"spacing_mm"),
        (PRED[None, None], REF[None, None], (1, 1), r"2-D or 3-D"),
        (PRED[:0], REF[:0], (1, 1), r"2-D or 3-D"),
        (PRED.astype(str), REF, (1, 1), r"dtype"),
    ],
)
def test_invalid_arrays_are_refused_in_one_line(pred, ref, spacing, message):
    with pytest.raises(DataError, match=message) as caught:
        Case(pred, ref, spacing_mm=spacing)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["brain", "ignore"])
def test_masks_beside_must_lie_on_the_same_grid(name):
    small = {name: REF[:2]}
    with pytest.raises(DataError, match=name):
        Case(PRED, REF, spacing_mm=(1, 1), brain=small.get("brain"), ignore=small.get("ignore"))


def test_arrays_are_left_as_they_came():
    pred, ref = PRED.copy(), REF.astype(np.uint8)
    case = Case(pred, ref, spacing_mm=(1, 1), ignore=PRED & REF)
    score(case, ["dice", "hd95", "lesion_f1"])
    assert np.array_equal(pred, PRED)
    assert np.array_equal(ref, REF)


def test_a_threshold_of_any_type_is_compared_in_the_precision_of_the_map():
    levels = np.array([[0.1, 0.3, 0.7]], dtype=np.float32)
    reference = np.ones((1, 3), dtype=bool)
    thresholds: tuple[Any, ...] = (0.3, np.float64(0.3), np.float32(0.3))
    for threshold in thresholds:
        assert Case(levels, reference, spacing_mm=(1, 1), threshold=threshold).counts.tp == 2
    for threshold in (-0.1, 1.5, float("nan")):
        with pytest.raises(DataError, match="threshold: expected a number from 0 to 1"):
            Case(levels, reference, spacing_mm=(1, 1), threshold=threshold)


def test_two_maps_are_one_too_many():
    with pytest.raises(DataError, match="pass one map"):
        Case(PRED * 1.0, REF, spacing_mm=(1, 1), probability=PRED * 0.5)


@pytest.mark.parametrize(
    "strange", [torch.ones(3, 4, requires_grad=True), torch.ones(3, 4, dtype=torch.bfloat16), [[1, 0], [1]]]
)
def test_other_values_than_arrays_are_refused(strange):
    with pytest.raises(DataError, match=r"prediction: not an array .*; pass a NumPy array"):
        Case(strange, REF, spacing_mm=(1, 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_has_the_borders_of_an_image(axis):
    generator = np.random.default_rng(5)
    pred, ref = generator.random((2, 14, 15)) < 0.5
    flat = Case(pred, ref, spacing_mm=(0.9, 2))
    spacing = np.insert([0.9, 2.0], axis, 3.0).tolist()
    volume = Case(np.expand_dims(pred, axis), np.expand_dims(ref, axis), spacing_mm=spacing)
    names = [record.name for record in list_metrics() if record.name.startswith(("hd", "as", "nsd"))]
    assert len(names) == 12
    assert score(volume, names) == score(flat, names)
    assert score(volume, ["volume_mm3"])["volume_mm3"] == pytest.approx(3 * score(flat, ["volume_mm3"])["volume_mm3"])


def test_everything_ignored_is_empty():
    case = Case(PRED * 0.9, REF, spacing_mm=(1, 1), ignore=np.ones_like(PRED))
    assert case.status is CaseStatus.BOTH_EMPTY
    names = [record.name for record in list_metrics() if record.needs <= {"probability"}]
    undefined = [name for name, value in score(case, names).items() if np.isnan(value)]
    assert {"dice", "specificity", "nll", "nll_lesion_term", "ece"} <= set(undefined)
