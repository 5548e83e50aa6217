"""Matching the baseline's intensities to the follow-up's."""

import numpy as np
import pytest

from lesionloss.core.errors import DataError
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.subject import Subject
from lesionloss.data.visit_matching import MatchSettings, match_visits

SPACING = (2.0, 2.0, 2.0)
BRAIN = np.pad(np.ones((20, 20, 20), bool), 2)


def visits(slow: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A baseline and a follow-up with gain 1.4, offset 2, a slow field, and a lesion of 27 voxels."""
    rng = np.random.default_rng(3)
    baseline = rng.normal(size=BRAIN.shape).astype(np.float32)
    field = slow * np.linspace(-1, 1, 24, dtype=np.float32)[:, None, None]
    followup = 1.4 * baseline + 2 + field + rng.normal(scale=0.05, size=BRAIN.shape).astype(np.float32)
    followup[10:13, 10:13, 10:13] += 5
    return baseline, np.asarray(followup, np.float32)


def test_gain_offset_and_slow_field_vanish_and_the_lesion_stays() -> None:
    baseline, followup = visits(slow=0.5)
    line = followup - match_visits(baseline, followup, BRAIN, SPACING, MatchSettings(local_mm=0.0), "a")
    both = followup - match_visits(baseline, followup, BRAIN, SPACING, MatchSettings(), "a")
    lesion = np.zeros(BRAIN.shape, bool)
    lesion[10:13, 10:13, 10:13] = True
    rest = BRAIN & ~lesion
    assert both[rest].std() < 0.6 * line[rest].std()
    assert abs(both[rest].mean()) < 0.02
    assert both[lesion].mean() == pytest.approx(5, abs=0.15)


def test_swapping_units_of_a_visit_changes_nothing() -> None:
    """The matched baseline is in the units of the follow-up, whatever those of the baseline were."""
    baseline, followup = visits()
    one = match_visits(baseline, followup, BRAIN, SPACING, MatchSettings(), "a")
    other = match_visits(250 * baseline + 900, followup, BRAIN, SPACING, MatchSettings(), "a")
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert (one[~BRAIN] == 0).all()


def test_a_constant_baseline_is_refused_with_its_case() -> None:
    with pytest.raises(DataError, match="case7: the first visit is constant"):
        match_visits(np.zeros(BRAIN.shape, np.float32), visits()[1], BRAIN, SPACING, MatchSettings(), "case7")


def test_as_a_step_it_matches_before_the_difference() -> None:
    baseline, followup = visits(slow=0.3)
    subject = Subject(
        name="a",
        patient="a",
        visits=(baseline[None], followup[None]),
        reference=np.zeros(BRAIN.shape, np.uint8),
        brain=BRAIN,
        affine=np.diag([*SPACING, 1.0]),
    )
    case = prepare_subject(subject, PreparationRecipe(steps=("brain", "crop", "normalise", "match", "subtract")))
    plain = prepare_subject(subject, PreparationRecipe(steps=("brain", "crop", "normalise", "subtract")))
    np.testing.assert_array_equal(case.image[1], plain.image[1])
    np.testing.assert_allclose(case.image[2], case.image[1] - case.image[0])
    inside = case.brain & (np.abs(case.image[2]) < 1)
    assert case.image[2][inside].std() < 0.75 * plain.image[2][inside].std()


@pytest.mark.parametrize(
    ("steps", "part"),
    [
        (("match", "brain"), "match must follow brain"),
        (("brain", "match", "normalise"), "match must follow resample, clip and normalise"),
    ],
)
def test_a_wrong_place_among_the_steps_is_refused(steps: tuple[str, ...], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        PreparationRecipe.model_validate({"steps": steps})
