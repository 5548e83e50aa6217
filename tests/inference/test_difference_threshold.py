"""The method without training on images made by hand, and on real patients."""

import re
from pathlib import Path

import numpy as np
import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.difference_threshold import (
    METHODS,
    DifferenceThreshold,
    depth_below_surface_mm,
    read_difference_threshold,
)
from lesionloss.inference.only_deep import deep_voxels

PLAIN = METHODS["difference_threshold"]
LIT = Path(__file__).parents[3] / "shared" / "data" / "lit"


def case_of(followup: np.ndarray, spacing: float = 2.0) -> PreparedCase:
    image = np.stack([np.zeros_like(followup), followup, followup]).astype(np.float32)
    brain = np.ones(followup.shape, bool)
    return PreparedCase(
        name="a",
        patient="a",
        image=image,
        channels=("baseline", "followup", "difference"),
        reference=np.zeros(followup.shape, np.uint8),
        brain=brain,
        affine=np.diag([spacing, spacing, spacing, 1.0]),
        offset=(0, 0, 0),
        original_shape=followup.shape,
    )


def test_bright_compact_change_is_found_and_small_dark_or_faint_change_is_not() -> None:
    followup = np.zeros((24, 24, 24))
    followup[4:8, 4:8, 4:8] = 3  # new and bright
    followup[12, 12, 12] = 9  # one voxel of 8 mm³: too small
    followup[16:20, 16:20, 16:20] = -3  # darker
    followup[4:8, 16:20, 4:8] = 0.6  # too faint
    mask = PLAIN.mask(case_of(followup))
    assert mask[5:7, 5:7, 5:7].all()
    mask[3:9, 3:9, 3:9] = False
    assert not mask.any()


def test_coarse_slices_are_not_smoothed() -> None:
    followup = np.zeros((16, 16, 8))
    followup[6:10, 6:10, 4] = 5
    case = case_of(followup)
    thick = PreparedCase(**{**vars(case), "affine": np.diag([1.0, 1.0, 3.0, 1.0])})
    mask = PLAIN.mask(thick)
    assert mask[..., 4].any()
    assert not mask[..., 3].any()


def test_change_of_the_scanner_is_matched_and_change_near_the_surface_is_left_out() -> None:
    """Another gain, an offset and a slow field between the visits: the plain method marks half of the brain."""
    rng = np.random.default_rng(1)
    baseline = rng.normal(size=(30, 30, 30)).astype(np.float32)
    slow = np.linspace(-1.0, 1.0, 30, dtype=np.float32)[:, None, None]
    followup = 1.3 * baseline + 0.8 + slow + rng.normal(scale=0.1, size=baseline.shape).astype(np.float32)
    lesion = np.zeros(baseline.shape, bool)
    lesion[13:16, 13:16, 13:16] = lesion[1:4, 13:16, 13:16] = True
    followup[lesion] += 4
    case = case_of(followup)
    case.image[0], case.image[2] = baseline, followup - baseline
    mask = DifferenceThreshold(smoothing_mm=0.0).mask(case)
    assert mask[13:16, 13:16, 13:16].mean() > 0.8
    assert not mask[:2].any()  # depths of 2 and 4 mm
    assert (mask & ~lesion).sum() == 0
    assert PLAIN.mask(case).sum() > 10 * lesion.sum()


def test_a_mask_in_which_nothing_is_deep_is_refused() -> None:
    case = case_of(np.ones((8, 8, 8)))
    assert deep_voxels(case, 6.0)[2:6, 2:6, 2:6].all()
    with pytest.raises(DataError, match=r"no voxel of the brain mask \(4\.1 ml\) lies 9 mm inside it.* not of lesions"):
        deep_voxels(case, 9.0)


def test_depth_is_the_distance_from_outside_of_the_mask_in_mm() -> None:
    brain = np.zeros((5, 9, 5), bool)
    brain[:, 2:7, :] = True
    depth = depth_below_surface_mm(brain, (10.0, 2.0, 10.0))
    assert depth[2, :, 2].tolist() == [0, 0, 2, 4, 6, 4, 2, 0, 0]
    assert depth_below_surface_mm(np.ones((3, 3), bool), (2.0, 3.0)).tolist() == [[2, 2, 2], [3, 4, 3], [2, 2, 2]]


def test_settings_are_read_named_and_refused() -> None:
    default = read_difference_threshold("matched_difference_threshold")
    assert default == DifferenceThreshold()
    assert default.title == "matched difference threshold (no training)"
    assert PLAIN.title == "difference threshold (no training)"
    changed = read_difference_threshold("difference_threshold(threshold=1.5, bright=0.25)")
    assert (changed.threshold, changed.bright, changed.matched, changed.depth_mm) == (1.5, 0.25, False, 0.0)
    assert read_difference_threshold(str(changed)) == changed
    assert changed.title == "difference_threshold(threshold=1.5, bright=0.25) (no training)"
    for text, part in (
        ("difference(threshold=1)", "no comparator is named 'difference'"),
        ("difference_threshold(matched=True)", "has no setting 'matched'"),
        ("matched_difference_threshold(depth_mm=-1)", "depth_mm must be a number from 0 on"),
        ("matched_difference_threshold(threshold='high')", "threshold"),
        ("matched_difference_threshold(bright=1e999)", "bright"),
    ):
        with pytest.raises(UsageError, match=re.escape(part)):
            read_difference_threshold(text)


def test_a_case_without_a_difference_is_refused() -> None:
    case = case_of(np.zeros((8, 8, 8)))
    single = PreparedCase(**{**vars(case), "image": case.image[:1], "channels": ("flair",)})
    with pytest.raises(DataError, match="needs two visits"):
        PLAIN.mask(single)


@pytest.mark.skipif(not LIT.exists(), reason="the LIT patients are not beside the project (../shared/data/lit)")
@pytest.mark.parametrize(
    ("patient", "plain", "matched"),
    [("patient01", 0.638, 0.674), ("patient03", 0.140, 0.325), ("patient12", 0.222, 0.398)],
)
def test_on_real_patients_both_reach_the_known_overlap(patient: str, plain: float, matched: float) -> None:
    cohort = open_cohort(f"lit:{LIT}", "positive_change")
    files = next(files for files in cohort.cases if files.patient == patient)
    case = prepare_subject(load_subject(cohort, files))
    for method, dice in ((PLAIN, plain), (DifferenceThreshold(), matched)):
        mask = method.mask(case)
        overlap = 2 * (mask & case.lesion).sum() / (mask.sum() + case.lesion.sum())
        assert overlap == pytest.approx(dice, abs=0.01)
