"""The method without training on images made by hand, and on real patients."""

from pathlib import Path

import numpy as np
import pytest

from lesionloss.bench.one_trial.difference_threshold import DifferenceSettings, difference_mask
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.prepared import PreparedCase

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
    mask = difference_mask(case_of(followup), DifferenceSettings())
    assert mask[5:7, 5:7, 5:7].all()
    mask[3:9, 3:9, 3:9] = False
    assert not mask.any()


def test_coarse_slices_are_not_smoothed() -> None:
    followup = np.zeros((16, 16, 8))
    followup[6:10, 6:10, 4] = 5
    case = case_of(followup)
    thick = PreparedCase(**{**vars(case), "affine": np.diag([1.0, 1.0, 3.0, 1.0])})
    mask = difference_mask(thick, DifferenceSettings())
    assert mask[..., 4].any()
    assert not mask[..., 3].any()


@pytest.mark.skipif(not LIT.exists(), reason="the LIT patients are not beside the project (../shared/data/lit)")
@pytest.mark.parametrize(("patient", "dice"), [("patient01", 0.62), ("patient03", 0.13), ("patient12", 0.22)])
def test_on_real_patients_it_reaches_the_known_overlap(patient: str, dice: float) -> None:
    cohort = open_cohort(f"lit:{LIT}", "positive_change")
    files = next(files for files in cohort.cases if files.patient == patient)
    case = prepare_subject(load_subject(cohort, files))
    mask = difference_mask(case, DifferenceSettings())
    overlap = 2 * (mask & case.lesion).sum() / (mask.sum() + case.lesion.sum())
    assert overlap == pytest.approx(dice, abs=0.02)
