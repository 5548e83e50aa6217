"""Lesion-wise metrics: against a voxel-by-voxel implementation, and the anchors of the MSSEG rules."""

import math

import numpy as np
import pytest

from lesionloss.core.errors import UsageError
from lesionloss.metrics import Case, CaseStatus, choose, score
from lesionloss.metrics.averages import value_of
from lesionloss.metrics.lesion_components import AnimaRule, detected, fewest_voxels
from lesionloss.metrics.lesion_table import LesionRow, detection_by_size, lesion_table
from metrics_by_hand import anima_f1, components, random_pair

PAIRS = 334  # three connectivities: 1,002 comparisons


def empty(side=20):
    return np.zeros((side, side, side), dtype=bool)


def lesion_f1(pred, ref, options="", spacing=(1, 1, 1)):
    name = f"lesion_f1({options})"
    return score(Case(pred, ref, spacing_mm=spacing), [name])[name]


def mean(found):
    return sum(found) / len(found) if found else math.nan


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_equal_to_the_rules_voxel_by_voxel(connectivity):
    seen = set()
    for number in range(PAIRS):
        pred, ref, spacing = random_pair(number)
        f1, sensitivity, ppv = anima_f1(pred, ref, spacing, connectivity)
        wanted = {"lesion_f1": f1, "lesion_sensitivity": mean(sensitivity), "lesion_ppv": mean(ppv)}
        seen.add(round(f1, 3))
        wanted = {f"{name}(connectivity={connectivity})": value for name, value in wanted.items()}
        got = score(Case(pred, ref, spacing_mm=spacing), list(wanted))
        assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True), f"pair {number}"
    assert len(seen) > 10, "the pairs are too alike to prove anything"


def test_any_shared_voxel_by_hand():
    for number in range(PAIRS):
        pred, ref, spacing = random_pair(number)
        fewest = math.floor(3 / math.prod(spacing)) + 1
        p, r = components(pred, 6, fewest), components(ref, 6, fewest)
        in_p, in_r = ({voxel for lesion in lesions for voxel in lesion} for lesions in (p, r))
        found, right = [bool(in_p & set(lesion)) for lesion in r], [bool(in_r & set(lesion)) for lesion in p]
        false = [len(lesion) for lesion, is_right in zip(p, right, strict=True) if not is_right]
        wanted = {
            "lesion_sensitivity_overlap": mean(found),
            "lesion_ppv_overlap": mean(right),
            "missed_lesions": found.count(False),
            "false_positive_lesions": len(false),
            "false_positive_lesion_volume_mm3": sum(false) * math.prod(spacing),
        }
        got = score(Case(pred, ref, spacing_mm=spacing), list(wanted))
        assert got == pytest.approx(wanted, abs=1e-9, nan_ok=True), f"pair {number}"


def test_l1_two_lesions_that_touch_at_a_corner():
    ref = empty()
    ref[4:6, 4:6, 4:6] = ref[6:8, 6:8, 6:8] = True
    pred = empty()
    pred[4:6, 4:6, 4:6] = True
    assert lesion_f1(pred, ref) == pytest.approx(2 / 3)
    assert lesion_f1(pred, ref, "connectivity=26") == 1.0


def test_l2_three_cubic_millimetres_are_no_lesion_yet():
    three, four = empty(), empty()
    three[2, 2, 2:5] = True
    four[2, 2, 2:6] = True
    assert math.isnan(lesion_f1(three, three))
    assert lesion_f1(four, four) == 1.0
    assert lesion_f1(three, four) == 0.0
    assert lesion_f1(three, three, spacing=(1, 1, 1.01)) == 1.0
    assert lesion_f1(three, three, "min_volume_mm3=2") == 1.0


@pytest.mark.parametrize(("found", "wanted"), [(10, False), (11, True)])
def test_l3_more_than_ten_percent_must_be_covered(found, wanted):
    ref, pred = empty(), empty()
    ref[5:10, 5:10, 5:9] = True
    pred[5:10, 5:7, 5] = True
    pred[5, 7, 5] = found == 11
    case = Case(pred, ref, spacing_mm=(1, 1, 1))
    assert detected(case.lesions(6, 4)[2], AnimaRule()).tolist() == [wanted]
    names = ["lesion_sensitivity", "lesion_ppv", "lesion_f1"]
    assert score(case, names) == {"lesion_sensitivity": float(wanted), "lesion_ppv": 0.0, "lesion_f1": 0.0}


def test_l4_a_good_tiny_lesion_is_rejected_by_the_70_percent_rule():
    ref, pred = empty(), empty()
    ref[5:7, 5:7, 5:7] = True
    pred[5:8, 5:8, 5:8] = True
    assert lesion_f1(pred, ref) == 0.0
    assert lesion_f1(pred, ref, "outside=0.71") == 1.0
    assert score(Case(pred, ref, spacing_mm=(1, 1, 1)), ["lesion_f1_overlap"]) == {"lesion_f1_overlap": 1.0}


def test_l5_empty_masks():
    lesion = empty()
    lesion[5:8, 5:8, 5:8] = True
    assert lesion_f1(empty(), lesion) == 0.0
    assert lesion_f1(lesion, empty()) == 0.0
    assert math.isnan(lesion_f1(empty(), empty()))


def fragments():
    """One reference lesion; two good pieces inside, and a third piece that lies almost wholly outside."""
    ref, pred = empty(24), empty(24)
    ref[2:12, 2:12, 2:3] = True
    pred[2:12, 2:5, 2:3] = True
    pred[2:12, 6:9, 2:3] = True
    pred[2:12, 10:12, 2:3] = True
    pred[2:12, 10:12, 3:9] = True
    return pred, ref


def test_l6_the_released_loop_stops_after_as_many_lesions_as_the_reference_has():
    pred, ref = fragments()
    overlap = Case(pred, ref, spacing_mm=(1, 1, 1)).lesions(6, 4)[2]
    assert overlap.table.tolist() == [[20, 30, 30]]
    strict = AnimaRule(counted=0.8)
    assert detected(overlap, strict).tolist() == [False]
    assert detected(overlap, AnimaRule(counted=0.8, released_bound=True)).tolist() == [True]


def test_coactseg_eleven_voxels_corner_neighbours():
    ten, eleven = empty(), empty()
    ten[2, 2, 2:12] = True
    eleven[2, 2, 2:13] = True
    options = "connectivity=26, min_voxels=11"
    assert math.isnan(lesion_f1(ten, ten, options))
    assert lesion_f1(eleven, eleven, options) == 1.0
    assert lesion_f1(eleven, eleven, spacing=(0.5, 0.75, 0.75)) == 1.0
    assert math.isnan(lesion_f1(ten, ten, spacing=(0.5, 0.75, 0.75)))


def test_l6_the_quirk_with_the_thresholds_of_the_challenge():
    """Two good pieces make up 60 % of the overlap; the bound ends the loop before the third, which lies outside."""
    pred, ref = empty(), empty()
    ref[2:12, 2:16, 2] = True
    for first, last in ((2, 4), (6, 8), (10, 11), (13, 14)):
        pred[2:12, first : last + 1, 2] = True
    pred[2:12, 10:12, 3:9] = True
    overlap = Case(pred, ref, spacing_mm=(1, 1, 1)).lesions(6, 4)[2]
    assert overlap.table.tolist() == [[20, 30, 30, 20]]
    assert detected(overlap, AnimaRule()).tolist() == [False]
    assert detected(overlap, AnimaRule(released_bound=True)).tolist() == [True]
    names = ["lesion_sensitivity", "lesion_sensitivity(released_bound=True)"]
    assert list(score(Case(pred, ref, spacing_mm=(1, 1, 1)), names).values()) == [0.0, 1.0]


def test_a_mask_of_specks_is_empty_to_metrics_of_lesions():
    """Three voxels of 1 mm3 are no lesion: the case is missed, and a mean over lesions must include it."""
    lesion, speck = empty(), empty()
    lesion[5:8, 5:8, 5:8] = True
    speck[2, 2, 2:5] = True
    ppv = choose("lesion_ppv")
    missed = value_of(ppv, Case(speck, lesion, spacing_mm=(1, 1, 1)))
    assert (math.isnan(missed.raw), missed.penalised, missed.status) == (True, 0.0, CaseStatus.PRED_EMPTY)
    marked = value_of(choose("lesion_f1"), Case(lesion, speck, spacing_mm=(1, 1, 1)))
    assert (marked.raw, marked.headline, marked.status) == (0.0, False, CaseStatus.REF_EMPTY)
    both = value_of(choose("lesion_f1(both_empty=1)"), Case(speck, speck, spacing_mm=(1, 1, 1)))
    assert (both.raw, both.headline, both.status) == (1.0, True, CaseStatus.BOTH_EMPTY)
    smaller = value_of(choose("lesion_f1(min_volume_mm3=1)"), Case(speck, speck, spacing_mm=(1, 1, 1)))
    assert (smaller.raw, smaller.status) == (1.0, CaseStatus.OK)
    assert value_of(choose("dice"), Case(speck, speck, spacing_mm=(1, 1, 1))).status is CaseStatus.OK


@pytest.mark.parametrize("step", [1.0000001, 0.9999999, 1 + 1e-9, 1 - 1e-9])
def test_the_limit_of_three_cubic_millimetres_survives_the_rounding_of_a_header(step):
    assert fewest_voxels(3, step) == 4
    assert fewest_voxels(3, 0.3 * step) == 11
    assert fewest_voxels(3, 1.01) == 3


def test_unknown_connectivity():
    lesion = empty()
    lesion[5:8, 5:8, 5:8] = True
    with pytest.raises(UsageError, match="connectivity must be 6, 18 or 26; got 7"):
        lesion_f1(lesion, lesion, "connectivity=7")
    with pytest.raises(UsageError, match="expected 6, 18 or 26, got 4"):
        lesion_table(Case(lesion, lesion, spacing_mm=(1, 1, 1)), connectivity=4)


def test_lesion_table():
    ref, pred = empty(), empty()
    ref[2:5, 2:5, 2:5] = True  # found, shifted by one voxel
    pred[3:6, 2:5, 2:5] = True
    ref[10:12, 10:12, 10:12] = True  # missed
    pred[15:19, 15:19, 15:19] = True  # false positive, the largest
    rows = lesion_table(Case(pred, ref, spacing_mm=(1, 1, 2)))
    assert [(row.in_reference, row.number, row.voxels, row.volume_mm3, row.found, row.match) for row in rows] == [
        (True, 1, 27, 54.0, True, 2),
        (True, 2, 8, 16.0, False, None),
        (False, 1, 64, 128.0, False, None),
        (False, 2, 27, 54.0, True, 1),
    ]
    assert [row.dice for row in rows] == pytest.approx([2 / 3, 0, 0, 2 / 3])
    assert [row.centre for row in rows] == [(3, 3, 3), (10.5, 10.5, 10.5), (16.5, 16.5, 16.5), (4, 3, 3)]
    classes = detection_by_size(rows, edges_mm3=(16.0, 54.0))
    assert [(each.lesions, each.found) for each in classes] == [(1, 0), (1, 1), (0, 0)]
    assert lesion_table(Case(empty(), empty(), spacing_mm=(1, 1, 1))) == []


def test_the_table_counts_what_the_metrics_count():
    for number in range(60):
        pred, ref, spacing = random_pair(number)
        case = Case(pred, ref, spacing_mm=spacing)
        rows = lesion_table(case)
        got = score(case, ["missed_lesions", "false_positive_lesions"])
        assert got["missed_lesions"] == sum(row.in_reference and not row.found for row in rows)
        assert got["false_positive_lesions"] == sum(not row.in_reference and not row.found for row in rows)
        assert sum(each.lesions for each in detection_by_size(rows)) == sum(row.in_reference for row in rows)


def test_the_size_classes_are_balls_of_3_5_and_10_mm():
    volumes = (14.1, 14.2, 65.4, 65.5, 523.6, 523.7)
    rows = [LesionRow(True, 1, 1, volume, (0,), volume > 60, None, 0) for volume in volumes]
    classes = detection_by_size([*rows, LesionRow(False, 1, 1, 9, (0,), True, None, 0)])
    assert [(each.above_mm3, each.lesions, each.found) for each in classes] == [
        (0, 1, 0),
        (14.1, 2, 1),
        (65.4, 2, 2),
        (523.6, 1, 1),
    ]
    assert classes[-1].up_to_mm3 == math.inf
    for diameter, edge in ((3, 14.1), (5, 65.4), (10, 523.6)):
        assert edge == round(math.pi / 6 * diameter**3, 1)


def test_a_row_of_the_table_is_larger_than_three_cubic_millimetres_or_has_enough_voxels():
    ref = empty()
    ref[2, 2, 2:5] = ref[8, 8, 2:6] = True
    case = Case(empty(), ref, spacing_mm=(1, 1, 1))
    assert [row.voxels for row in lesion_table(case)] == [4]
    assert [row.voxels for row in lesion_table(case, min_voxels=3)] == [4, 3]
    assert [row.voxels for row in lesion_table(case, min_volume_mm3=2)] == [4, 3]
