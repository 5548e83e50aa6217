"""The published sets themselves, where they are at hand, have the figures known of them."""

import cc3d
import numpy as np
import pytest

from data_cohorts import REAL_LIT
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.layouts.lit import difference_of
from lesionloss.data.nifti import read_mask, read_volume
from subjects import reference_of

REAL = REAL_LIT.parent


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_real_lit_has_the_known_figures() -> None:
    cohort = open_cohort(REAL_LIT, "change")
    known = {"patient01": (1.42, 0.33, 0.0), "patient03": (0.50, 0.53, 0.026), "patient12": (-0.55, 0.30, 0.0)}
    for files in cohort.cases:
        subject = load_subject(cohort, files)
        inside, spread, outside = known[files.name]
        difference, lesion, brain = difference_of(subject), reference_of(subject) > 0, subject.brain
        assert brain is not None
        assert difference[lesion].mean() == pytest.approx(inside, abs=0.005)
        assert difference[brain & ~lesion].mean() == pytest.approx(0, abs=0.005)
        assert difference[brain & ~lesion].std() == pytest.approx(spread, abs=0.006)
        assert (lesion & ~brain).sum() / lesion.sum() == pytest.approx(outside, abs=0.001)
        affines = [read_volume(path).affine for visit in files.visits for path in visit]
        assert files.reference is not None
        affines.append(read_mask(files.reference).affine)
        assert max(np.abs(affine - affines[0]).max() for affine in affines) < 5e-7


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_real_lit_has_the_known_lesions_in_every_patient() -> None:
    """Nineteen of the twenty patients are at hand; what their components are like is known of all twenty."""
    counts, medians, planes, slices, shares = [], [], [], [], []
    for path in sorted(REAL_LIT.glob("patient*/gt.nii.gz")):
        change = read_mask(path)
        components = cc3d.connected_components(change.array.astype(np.uint8), connectivity=26)
        sizes = np.bincount(components[components > 0])[1:]
        counts.append(len(sizes))
        medians.append(float(np.median(sizes)))
        planes.append(change.spacing_mm[0])
        slices.append(change.spacing_mm[2])
        shares.append(float(change.array.mean()))
    assert len(counts) == 19
    assert (min(counts), max(counts)) == (8, 131)
    assert 0 < 833 - sum(counts) <= 131
    assert (min(medians), max(medians)) == (9, 94)
    assert (round(min(planes), 2), round(max(planes), 2)) == (0.57, 0.90)
    assert (round(min(slices), 1), round(max(slices), 1)) == (3.0, 3.3)
    assert round(min(shares), 5) == 0.00003
    assert max(shares) < 0.0027


@pytest.mark.skipif(not (REAL / "hippocampus").is_dir(), reason="the hippocampus set is not beside the project")
def test_real_hippocampus_is_read_whole() -> None:
    cohort = open_cohort(REAL / "hippocampus")
    assert (cohort.layout.name, len(cohort.cases), cohort.incomplete) == ("hippocampus", 260, ())
    maxima, classes = [], set()
    for files in cohort.cases:
        subject = load_subject(cohort, files)
        assert subject.spacing_mm == pytest.approx((1, 1, 1))
        maxima.append(float(subject.visits[0].max()))
        classes |= set(np.unique(reference_of(subject)).tolist())
    assert classes == {0, 1, 2}
    assert min(maxima) == 112
    assert max(maxima) == pytest.approx(1.7e6, rel=0.01)
