"""The plan of a patient: how many are stable, and how many lesions of what size the others have."""

import numpy as np
import pytest

from lesionloss.synth import plan_patient, profile_settings
from synth_cases import SETTINGS


def test_a_fifth_of_the_patients_is_stable() -> None:
    stable = np.mean([not plan_patient(0, index, SETTINGS).of_kind("new") for index in range(300)])
    assert 0.17 < stable < 0.23


def test_counts_and_sizes_are_those_of_the_lit_masks() -> None:
    """There: 8 to 131 components of change per patient, 43.5 in the middle; medians of 14 to 228 mm3."""
    plans = [plan_patient(0, index, profile_settings("lit")) for index in range(200)]
    changed = [[x for x in plan.lesions if x.kind != "unchanged"] for plan in plans]
    counts = [len(lesions) for lesions in changed]
    assert 20 < np.median(counts) < 60
    assert np.quantile(counts, 0.05) < 15
    assert np.quantile(counts, 0.95) > 65
    medians = [np.median([abs(x.volumes_mm3[1] - x.volumes_mm3[0]) for x in lesions]) for lesions in changed if lesions]
    assert 25 < np.median(medians) < 90


@pytest.mark.parametrize("seed", range(4))
def test_small_cohorts_keep_the_share(seed: int) -> None:
    for first in range(0, 30, 5):
        stable = [not plan_patient(seed, index, SETTINGS).of_kind("new") for index in range(first, first + 5)]
        assert sum(stable) == 1


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 20)])
def test_stable_share_has_its_limits(share: float, expected: int) -> None:
    settings = profile_settings("mixed", {"lesions": {"stable_share": share}})
    assert sum(not plan_patient(1, index, settings).of_kind("new") for index in range(20)) == expected
