"""The synthetic patient: reproducible, anatomical, and true to its own record."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from lesionloss.errors import UsageError
from lesionloss.randomness import numpy_generator
from lesionloss.synth import SyntheticPatient, SynthSettings, plan_patient, synthesise
from lesionloss.synth.anatomy import draw_anatomy, smallest_jacobian
from lesionloss.synth.fields import BOX_MM, Axes, box_axes, smooth_field
from lesionloss.synth.lesions import grow_lesions
from lesionloss.synth.plan import PLACES

SETTINGS = SynthSettings()
SEED = 11
TOUCHING = np.ones((3, 3, 3), bool)


@pytest.fixture(scope="module")
def patients() -> list[SyntheticPatient]:
    return [synthesise(SEED, index, SETTINGS) for index in range(4)]


@pytest.fixture(scope="module")
def ill(patients: list[SyntheticPatient]) -> list[SyntheticPatient]:
    found = [patient for patient in patients if patient.record.of_kind("new")]
    assert len(found) >= 2
    return found


def test_same_seed_same_bits(patients: list[SyntheticPatient]) -> None:
    again = synthesise(SEED, 1, SETTINGS)
    assert again.record == patients[1].record
    for name in ("reference", "brain", "labels", "affine"):
        np.testing.assert_array_equal(getattr(again, name), getattr(patients[1], name))
    for twice, once in zip(again.visits + again.clean, patients[1].visits + patients[1].clean, strict=True):
        assert twice.dtype == once.dtype
        np.testing.assert_array_equal(twice, once)


def test_other_seed_or_index_another_person() -> None:
    brains = [draw_anatomy(numpy_generator(s, "patient", k, "anatomy"), 3.0).brain for s, k in ((1, 0), (1, 1), (2, 0))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert brains[one].shape != brains[other].shape or (brains[one] != brains[other]).mean() > 0.01


def test_arrays_share_a_grid_and_are_finite(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        shape = patient.brain.shape
        for array in (*patient.visits, *patient.clean, patient.reference, patient.labels):
            assert array.shape == shape
            assert np.isfinite(array).all()
        np.testing.assert_allclose(np.diag(patient.affine), [2, 2, 2, 1])
        assert all(image.dtype == np.int16 and (image[~patient.brain] == 0).all() for image in patient.visits)


def test_brain_volume_is_human(patients: list[SyntheticPatient]) -> None:
    litres = [patient.brain.sum() * 8e-6 for patient in patients]
    assert all(1.4 < volume < 2.4 for volume in litres)
    assert max(litres) - min(litres) > 0.01


def test_masks_lie_inside_the_brain_and_agree(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        assert not (patient.reference & ~patient.brain).any()
        assert not ((patient.labels > 0) & ~patient.brain).any()
        new = [lesion.number for lesion in patient.record.of_kind("new")]
        np.testing.assert_array_equal(patient.reference, np.isin(patient.labels, new))
        assert not (patient.record.of_kind("new") == () and patient.reference.any())


def test_record_tells_place_and_volume(ill: list[SyntheticPatient]) -> None:
    for patient in ill:
        assert [lesion.number for lesion in patient.record.lesions] == list(range(1, patient.labels.max() + 1))
        for lesion in patient.record.lesions:
            voxels = np.argwhere(patient.labels == lesion.number)
            assert lesion.volume_mm3 == len(voxels) * 8
            np.testing.assert_allclose(voxels.mean(axis=0) * 2 + patient.affine[:3, 3], lesion.centre_mm)


def test_each_new_lesion_is_one_component(ill: list[SyntheticPatient]) -> None:
    for patient in ill:
        assert ndimage.label(patient.reference, TOUCHING)[1] == len(patient.record.of_kind("new"))
        old = (patient.labels > 0) & ~patient.reference
        assert not (ndimage.binary_dilation(patient.reference, TOUCHING) & old).any()


def test_new_lesions_are_absent_at_baseline_and_there_at_follow_up(ill: list[SyntheticPatient]) -> None:
    for patient in ill:
        before, after = patient.clean
        change = after - before
        assert change[patient.reference].min() > 0.1
        for lesion in patient.record.of_kind("new"):
            own = patient.labels == lesion.number
            around = ndimage.binary_dilation(own, TOUCHING, iterations=2) & (patient.labels == 0)
            assert before[own].mean() < np.median(before[around]) + 0.15
            assert after[own].mean() > before[own].mean() + 0.2


def test_nothing_else_in_white_matter_changes(patients: list[SyntheticPatient]) -> None:
    """Outside lesions and their soft borders, the noise-free change is flow, and flow keeps out of white matter."""
    patient = patients[1]
    anatomy = draw_anatomy(numpy_generator(SEED, "patient", 1, "anatomy"), 2.0)
    np.testing.assert_array_equal(anatomy.brain, patient.brain)
    far = ~ndimage.binary_dilation(patient.labels > 0, TOUCHING, iterations=3)
    change = np.abs(patient.clean[1] - patient.clean[0])
    assert change[far & (anatomy.wm > 0.98)].max() < 0.03
    assert change[far].max() > 0.1


def test_lesions_lie_in_white_matter_and_prefer_the_ventricles() -> None:
    anatomy = draw_anatomy(numpy_generator(3, "anatomy"), 2.0)
    plan = plan_patient(3, 0, dataclasses.replace(SETTINGS, mean_old_lesions=60.0))
    lesions = grow_lesions(numpy_generator(3, "lesions"), anatomy, plan.lesions)
    distance = {place: [] for place in PLACES}
    for lesion in lesions.found:
        own = lesions.labels == lesion.number
        assert anatomy.wm[own].min() > 0.5
        distance[lesion.place].append(float(anatomy.ventricle_mm[own].mean()))
    assert np.mean(distance["periventricular"]) < 10
    assert np.mean(distance["deep"]) > 9
    assert np.mean(distance["juxtacortical"]) > 12
    assert len(distance["periventricular"]) > len(distance["juxtacortical"])


def test_lesions_are_not_balls() -> None:
    anatomy = draw_anatomy(numpy_generator(4, "anatomy"), 1.5)
    plans = plan_patient(4, 1, SynthSettings(spacing_mm=1.5)).lesions
    lesions = grow_lesions(numpy_generator(4, "lesions"), anatomy, plans)
    filled = []
    for lesion in lesions.found:
        if lesion.volume_mm3 > 60:
            voxels = np.argwhere(lesions.labels == lesion.number)
            radius = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).max() + 0.5
            filled.append(lesion.volume_mm3 / 1.5**3 / (4 / 3 * np.pi * radius**3))
    assert len(filled) >= 5
    assert np.median(filled) < 0.6


def test_sizes_follow_the_plan(ill: list[SyntheticPatient]) -> None:
    planned = sum(lesion.volume_mm3 for patient in ill for lesion in patient.record.plan.of_kind("new"))
    grown = [lesion.volume_mm3 for patient in ill for lesion in patient.record.of_kind("new")]
    assert 0.85 * planned < sum(grown) < 1.15 * planned
    assert all(8 <= volume <= 500 for volume in grown)


def test_contrast_is_that_of_flair(patients: list[SyntheticPatient]) -> None:
    anatomy = draw_anatomy(numpy_generator(SEED, "patient", 0, "anatomy"), 2.0)
    baseline = patients[0].visits[0].astype(float)
    normal = patients[0].labels == 0
    white, grey, fluid = (
        np.median(baseline[(tissue > 0.95) & normal]) for tissue in (anatomy.wm, anatomy.gm, anatomy.csf)
    )
    lesion = np.median(baseline[patients[0].labels > 0])
    assert fluid < 0.4 * white
    assert 1.03 * white < grey < 1.35 * white
    assert lesion > 1.1 * white


def test_visits_differ_in_noise_scale_and_position(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        first, second = (image[patient.brain].astype(float) for image in patient.visits)
        first, second = ((image - image.mean()) / image.std() for image in (first, second))
        assert 0.8 < np.corrcoef(first, second)[0, 1] < 0.99
        assert 0.15 < (second - first).std() < 0.6
        assert 0.2 <= patient.record.plan.misregistration_mm <= 0.5


def test_deformations_do_not_fold() -> None:
    for index in range(6):
        anatomy = draw_anatomy(numpy_generator(index, "anatomy"), 3.0)
        assert 0.25 < anatomy.smallest_jacobian < 1


def test_jacobian_of_known_maps() -> None:
    axes = Axes(*(np.arange(n) * 2.0 for n in (9, 10, 11)))
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    assert smallest_jacobian(grid, axes) == pytest.approx(1)
    assert smallest_jacobian(grid * np.array([2, 1, 0.5], np.float32).reshape(3, 1, 1, 1), axes) == pytest.approx(1)
    mirrored = grid.copy()
    mirrored[0] *= -1
    assert smallest_jacobian(mirrored, axes) == pytest.approx(-1)
    folded = grid.copy()
    folded[0] += 4 * np.sin(grid[0])
    assert smallest_jacobian(folded, axes) < 0


def test_person_is_the_same_at_another_spacing() -> None:
    coarse, fine = (draw_anatomy(numpy_generator(5, "anatomy"), spacing) for spacing in (3.0, 1.5))
    assert fine.brain.sum() / coarse.brain.sum() == pytest.approx(8, rel=0.02)
    assert fine.wm.sum() / coarse.wm.sum() == pytest.approx(8, rel=0.02)


def test_smooth_fields_are_standard_and_smooth() -> None:
    axes = box_axes(4.0)
    fields = np.stack([smooth_field(numpy_generator("field", k), axes, 20.0) for k in range(10)])
    assert fields.std() == pytest.approx(1, abs=0.1)
    assert abs(fields.mean()) < 0.1
    assert np.abs(np.diff(fields, axis=1)).mean() < 0.25
    assert all(axis[0] == low and axis[-1] <= high for axis, (low, high) in zip(axes, BOX_MM, strict=True))


def test_a_fifth_of_the_patients_is_stable() -> None:
    plans = [plan_patient(0, index, SETTINGS) for index in range(2000)]
    stable = np.mean([not plan.of_kind("new") for plan in plans])
    assert 0.17 < stable < 0.23
    news = [len(plan.of_kind("new")) for plan in plans if plan.of_kind("new")]
    assert np.mean(news) == pytest.approx(SETTINGS.mean_new_lesions, rel=0.1)
    sizes = [lesion.volume_mm3 for plan in plans for lesion in plan.of_kind("new")]
    assert np.median(sizes) == pytest.approx(SETTINGS.median_new_mm3, rel=0.1)
    assert min(sizes) >= 3
    assert max(sizes) <= SETTINGS.largest_new_mm3


@pytest.mark.parametrize("seed", range(8))
def test_small_cohorts_keep_the_share(seed: int) -> None:
    for first in range(0, 30, 5):
        stable = [not plan_patient(seed, index, SETTINGS).of_kind("new") for index in range(first, first + 5)]
        assert sum(stable) == 1


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 20)])
def test_stable_share_has_its_limits(share: float, expected: int) -> None:
    settings = SynthSettings(stable_share=share)
    assert sum(not plan_patient(1, index, settings).of_kind("new") for index in range(20)) == expected


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"spacing_mm": 0.1}, "spacing is 0.1 mm"),
        ({"spacing_mm": float("nan")}, "spacing"),
        ({"stable_share": 2}, "stable_share is 2"),
    ],
)
def test_bad_settings_are_explained(broken: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SynthSettings(**broken)


def test_negative_index_is_refused() -> None:
    with pytest.raises(UsageError, match="patients count from 0"):
        synthesise(0, -1, SETTINGS)
