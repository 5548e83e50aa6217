"""The synthetic patient: reproducible, anatomical, and true to its own record."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from lesionloss.errors import UsageError
from lesionloss.randomness import numpy_generator
from lesionloss.synth import (
    SyntheticPatient,
    SynthSettings,
    plan_patient,
    profile_settings,
    synthesise,
    synthetic_patients,
)
from lesionloss.synth.anatomy import Sampling, draw_anatomy, smallest_jacobian
from lesionloss.synth.fields import BOX_MM, Axes, box_axes, smooth_field, upsampled
from lesionloss.synth.lesions import grow_lesions
from lesionloss.synth.plan import KINDS, PLACES

SETTINGS = SynthSettings(spacing_mm=3.0)
DEMO = profile_settings("demo", {"spacing_mm": 3.0})
BUSY = profile_settings(
    "lit",
    {
        "spacing_mm": 3.0,
        "lesions": {
            "old_count": (50, 60),
            "new_count": (10, 14),
            "enlarging": (0.2, 0.3),
            "shrinking": (0.2, 0.3),
            "vanishing": (0.1, 0.15),
            "old_volume_mm3": (250, 300),
            "new_volume_mm3": (250, 300),
        },
    },
)
SEED = 11
TOUCHING = np.ones((3, 3, 3), bool)
ONE = (1, 1, 1)


def isotropic(spacing_mm: float) -> Sampling:
    return Sampling((spacing_mm,) * 3, ONE)


@pytest.fixture(scope="module")
def patients() -> list[SyntheticPatient]:
    mixed = [synthesise(SEED, index, SETTINGS) for index in range(2)]
    return [*mixed, synthesise(SEED, 0, BUSY), synthesise(SEED, 0, DEMO)]


@pytest.fixture(scope="module")
def busy(patients: list[SyntheticPatient]) -> SyntheticPatient:
    found = patients[2]
    assert all(found.record.of_kind(kind) for kind in KINDS)
    return found


def test_same_seed_same_bits(patients: list[SyntheticPatient]) -> None:
    again = synthesise(SEED, 1, SETTINGS)
    assert again.record == patients[1].record
    for name in ("reference", "brain", "labels", "affine", "change"):
        np.testing.assert_array_equal(getattr(again, name), getattr(patients[1], name))
    for twice, once in zip(again.visits + again.clean, patients[1].visits + patients[1].clean, strict=True):
        assert twice.dtype == once.dtype
        np.testing.assert_array_equal(twice, once)


def test_patients_without_end_are_those_of_the_cohort(patients: list[SyntheticPatient]) -> None:
    first = next(synthetic_patients(SEED, SETTINGS, start=1))
    assert first.record == patients[1].record
    np.testing.assert_array_equal(first.visits[1], patients[1].visits[1])
    third, fourth = itertools.islice(synthetic_patients(SEED, SynthSettings(spacing_mm=4.0), start=3), 2)
    assert (third.record.index, fourth.record.index) == (3, 4)


def test_other_seed_or_index_another_person() -> None:
    brains = [
        draw_anatomy(numpy_generator(s, "patient", k, "anatomy"), isotropic(4.0), SETTINGS.anatomy).brain
        for s, k in ((1, 0), (1, 1), (2, 0))
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert brains[one].shape != brains[other].shape or (brains[one] != brains[other]).mean() > 0.01


def test_arrays_share_a_grid_and_are_finite(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        shape = patient.brain.shape
        for array in (*patient.visits, *patient.clean, patient.reference, *patient.lesions, *patient.kinds.values()):
            assert array.shape == shape
            assert np.isfinite(array).all()
        np.testing.assert_allclose(np.diag(patient.affine), [3, 3, 3, 1])
        assert all(image.dtype == np.int16 and (image[~patient.brain] == 0).all() for image in patient.visits)
        assert all(image[patient.brain].std() > 0 for image in patient.visits)


def test_the_scanners_own_voxels_hold_the_same_person() -> None:
    lit = profile_settings("lit", {"spacing_mm": "scanner", "scanner": {"in_plane_mm": (1.5, 1.5)}})
    patient = synthesise(2, 0, lit)
    protocol = patient.record.plan.followup.protocol
    assert protocol.plane == "axial"
    np.testing.assert_allclose(np.diag(patient.affine), [1.5, 1.5, protocol.slice_mm, 1])
    again = synthesise(2, 0, lit.model_copy(update={"spacing_mm": 3.0}))
    assert patient.record.brain_mm3 == pytest.approx(again.record.brain_mm3, rel=0.03)
    assert not (patient.labels.astype(bool) & ~patient.brain).any()


def test_brain_volume_is_human() -> None:
    """LIT's masks hold 1.19 to 1.55 litres."""
    litres = []
    for index in range(6):
        anatomy = draw_anatomy(numpy_generator(index), isotropic(4.0), SETTINGS.anatomy)
        litres.append(anatomy.brain.sum() * 64e-6)
        for fraction, (low, high) in {"gm": (0.3, 0.6), "wm": (0.28, 0.5), "csf": (0.05, 0.3)}.items():
            assert low < anatomy.maps[fraction].mean() < high
    assert all(1.05 < volume < 1.95 for volume in litres)
    assert max(litres) - min(litres) > 0.02


def test_both_hemispheres_cerebellum_and_brain_stem_are_there() -> None:
    anatomy = draw_anatomy(numpy_generator("whole"), isotropic(4.0), SETTINGS.anatomy)
    x, y, z = anatomy.points_mm
    parts = {
        "left": x < -20,
        "right": x > 20,
        "cerebellum": (z < -30) & (y < -50),
        "stem": (z < -40) & (np.abs(x) < 6) & (y > -45) & (y < -20),
    }
    assert all(part.sum() > 20 for part in parts.values()), {name: part.sum() for name, part in parts.items()}


def test_masks_lie_inside_the_brain_and_agree(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        before, after = (labels > 0 for labels in patient.lesions)
        assert not ((before | after) & ~patient.brain).any()
        np.testing.assert_array_equal(patient.reference, patient.kinds["new"] > 0)
        np.testing.assert_array_equal(sum(patient.kinds.values()), patient.labels)
        assert not (patient.record.of_kind("new") == () and patient.reference.any())


def test_no_reference_voxel_where_nothing_changed(busy: SyntheticPatient) -> None:
    before, after = (labels > 0 for labels in busy.lesions)
    came, went = busy.change > 0, busy.change < 0
    np.testing.assert_array_equal(came, after & ~before)
    assert not (went & ~before).any()
    assert not (busy.kinds["unchanged"] > 0)[busy.change != 0].any()
    faded = {
        lesion.number
        for lesion in busy.record.of_kind("shrinking")
        if lesion.contrasts[1] < 0.7 * lesion.contrasts[0]
    }  # fmt: skip
    kept = went & after
    assert set(np.unique(busy.labels[kept])) <= faded
    signal = busy.clean[1] - busy.clean[0]
    assert np.median(signal[came]) > 0.05
    assert np.median(signal[went]) < -0.03


def test_each_kind_does_what_it_is_called(busy: SyntheticPatient) -> None:
    for lesion in busy.record.lesions:
        before, after = lesion.volumes_mm3
        assert {
            "new": before == 0 < after,
            "vanishing": after == 0 < before,
            "enlarging": 0 < before <= after,
            "shrinking": 0 < after <= before or after == 0 < before,
            "unchanged": before == after > 0 == lesion.change_mm3,
        }[lesion.kind], lesion
    assert any(x.volumes_mm3[0] < x.volumes_mm3[1] for x in busy.record.of_kind("enlarging"))
    assert any(x.volumes_mm3[0] > x.volumes_mm3[1] for x in busy.record.of_kind("shrinking"))


@pytest.mark.parametrize(("truth", "kinds"), [("positive", {"new", "enlarging"}), ("change", set(KINDS[1:]))])
def test_ground_truth_is_what_was_asked_for(busy: SyntheticPatient, truth: str, kinds: set[str]) -> None:
    patient = synthesise(SEED, 0, BUSY.model_copy(update={"ground_truth": truth}))
    wanted = patient.change > 0 if truth == "positive" else patient.change != 0
    np.testing.assert_array_equal(patient.reference, wanted)
    found = {kind for kind, labels in patient.kinds.items() if (patient.reference & (labels > 0)).any()}
    assert found == kinds
    np.testing.assert_array_equal(patient.visits[1], busy.visits[1])


def test_record_tells_place_and_volume(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        assert [lesion.number for lesion in patient.record.lesions] == list(range(1, patient.labels.max() + 1))
        for lesion in patient.record.lesions:
            voxels = np.argwhere(patient.labels == lesion.number)
            assert lesion.volume_mm3 == pytest.approx(len(voxels) * 27)
            np.testing.assert_allclose(voxels.mean(axis=0) * 3 + patient.affine[:3, 3], lesion.centre_mm)
            own = [(labels == lesion.number).sum() * 27 for labels in patient.lesions]
            assert lesion.volumes_mm3 == pytest.approx(own)
            assert lesion.change_mm3 == pytest.approx((patient.change[patient.labels == lesion.number] != 0).sum() * 27)


def test_each_new_lesion_is_one_component(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        assert ndimage.label(patient.reference, TOUCHING)[1] == len(patient.record.of_kind("new"))
        old = (patient.labels > 0) & ~patient.reference
        assert not (ndimage.binary_dilation(patient.reference, TOUCHING) & old).any()


def test_new_lesions_are_absent_at_baseline_and_there_at_follow_up(busy: SyntheticPatient) -> None:
    before, after = busy.clean
    for lesion in busy.record.of_kind("new"):
        own = busy.labels == lesion.number
        assert not busy.lesions[0][own].any()
        assert (busy.lesions[1][own] == lesion.number).all()
        assert (after - before)[own].mean() > 0.15 * lesion.contrasts[1]


def test_nothing_else_in_white_matter_changes() -> None:
    """Outside lesions and their soft borders, the noise-free change is flow, and flow keeps out of white matter."""
    calm = profile_settings("demo", {"spacing_mm": 3.0, "contrast": {"jitter": (0, 0)}})
    patient = synthesise(5, 1, calm)
    anatomy = draw_anatomy(numpy_generator(5, "patient", 1, "anatomy"), isotropic(3.0), calm.anatomy)
    np.testing.assert_array_equal(anatomy.brain, patient.brain)
    far = ~ndimage.binary_dilation(patient.labels > 0, TOUCHING, iterations=2)[anatomy.brain]
    far &= (anatomy.maps["wm"] > 0.98) & (anatomy.maps["ventricle_mm"] > 4)
    change = np.abs(patient.clean[1] - patient.clean[0])[anatomy.brain]
    assert change[far].max() < 0.05
    assert change.max() > 0.1


def test_lesions_lie_in_white_matter_and_where_they_were_sent() -> None:
    anatomy = draw_anatomy(numpy_generator(3, "anatomy"), isotropic(2.5), SETTINGS.anatomy)
    plan = plan_patient(3, 0, profile_settings("mixed", {"lesions": {"old_count": (90, 90)}}))
    lesions = grow_lesions(numpy_generator(3, "lesions"), anatomy, plan.lesions, ONE, anatomy.brain)
    wm, near, depth = (anatomy.spread(anatomy.maps[name]) for name in ("wm", "ventricle_mm", "cortex"))
    below = anatomy.spread(anatomy.infratentorial().astype(np.float32)) > 0
    found: dict[str, list[tuple[float, float, float]]] = {place: [] for place in PLACES}
    for lesion in lesions.found:
        own = lesions.either() == lesion.number
        assert wm[own].mean() > 0.5
        found[lesion.place].append((float(near[own].mean()), float(depth[own].mean()), float(below[own].mean())))
    mean = {place: np.mean(values, axis=0) for place, values in found.items()}
    assert mean["periventricular"][0] < mean["deep"][0]
    assert mean["juxtacortical"][1] > mean["deep"][1]
    assert mean["infratentorial"][2] > 0.9
    assert len(found["periventricular"]) > len(found["infratentorial"])


def test_lesions_are_not_balls() -> None:
    anatomy = draw_anatomy(numpy_generator(4, "anatomy"), isotropic(2.0), SETTINGS.anatomy)
    wanted = {"lesions": {"old_count": (30, 30), "old_volume_mm3": (300, 400), "stable_share": 1.0}}
    plans = plan_patient(4, 1, profile_settings("mixed", wanted)).lesions
    lesions = grow_lesions(numpy_generator(4, "lesions"), anatomy, plans, ONE, anatomy.brain)
    filled = []
    for lesion in lesions.found:
        if lesion.volume_mm3 > 150:
            voxels = np.argwhere(lesions.either() == lesion.number)
            radius = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).max() + 0.5
            filled.append(lesion.volume_mm3 / 8 / (4 / 3 * np.pi * radius**3))
    assert len(filled) >= 5
    assert np.median(filled) < 0.6


def test_sizes_follow_the_plan(busy: SyntheticPatient) -> None:
    for kind, visit in (("new", 1), ("unchanged", 0)):
        planned = [lesion.volumes_mm3[visit] for lesion in busy.record.plan.of_kind(kind)]
        grown = [lesion.volumes_mm3[visit] for lesion in busy.record.of_kind(kind)]
        assert 0.5 < np.mean(grown) / np.mean(np.maximum(planned, 1.5 * 27)) < 1.5


def test_contrast_is_that_of_flair() -> None:
    patient = synthesise(SEED, 0, DEMO)
    anatomy = draw_anatomy(numpy_generator(SEED, "patient", 0, "anatomy"), isotropic(3.0), DEMO.anatomy)
    baseline = patient.visits[0].astype(float)[anatomy.brain]
    normal = patient.labels[anatomy.brain] == 0
    white, grey, fluid = (np.median(baseline[(anatomy.maps[t] > 0.9) & normal]) for t in ("wm", "gm", "csf"))
    lesion = np.median(patient.visits[0][patient.lesions[0] > 0])
    assert fluid < 0.5 * white
    assert 1.0 * white < grey < 1.35 * white
    assert lesion > 1.05 * white


def test_visits_differ_in_noise_scale_and_position(patients: list[SyntheticPatient]) -> None:
    """LIT's z-scored difference has a sd of .30 to .53 outside lesions; at 3 mm noise weighs less."""
    for patient in patients:
        first, second = (image[patient.brain].astype(float) for image in patient.visits)
        first, second = ((image - image.mean()) / image.std() for image in (first, second))
        assert 0.5 < np.corrcoef(first, second)[0, 1] < 0.99
        assert 0.12 < (second - first).std() < 1.0


def test_a_visit_may_lack_slices_and_then_the_mask_does_too() -> None:
    cut = profile_settings("mixed", {"spacing_mm": 4.0, "followup": {"cut_share": 1.0, "cut_mm": (20, 20)}})
    whole = profile_settings("mixed", {"spacing_mm": 4.0, "followup": {"cut_share": 0.0, "cut_mm": (20, 20)}})
    less, more = (synthesise(1, 0, settings) for settings in (cut, whole))
    heights = [np.flatnonzero(patient.brain.any(axis=(0, 1))) for patient in (less, more)]
    assert len(heights[1]) - len(heights[0]) >= 4
    assert not (less.labels.astype(bool) & ~less.brain).any()


def test_deformations_do_not_fold() -> None:
    wild = profile_settings("mixed", {"anatomy": {"deformation_mm": (6, 6), "ventricle_mm": (8, 8)}})
    for index, settings in enumerate((SETTINGS, SETTINGS, wild)):
        anatomy = draw_anatomy(numpy_generator(index, "anatomy"), isotropic(4.0), settings.anatomy)
        assert 0.2 < anatomy.smallest_jacobian < 1.5


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
    coarse, fine = (
        draw_anatomy(numpy_generator(5, "anatomy"), isotropic(spacing), SETTINGS.anatomy) for spacing in (4.0, 2.0)
    )
    assert fine.brain.sum() / coarse.brain.sum() == pytest.approx(8, rel=0.02)
    assert fine.maps["wm"].sum() / coarse.maps["wm"].sum() == pytest.approx(8, rel=0.03)


def test_smooth_fields_are_standard_and_smooth() -> None:
    axes = box_axes(4.0)
    fields = np.stack([smooth_field(numpy_generator("field", k), axes, 20.0) for k in range(10)])
    assert fields.std() == pytest.approx(1, abs=0.1)
    assert abs(fields.mean()) < 0.1
    assert np.abs(np.diff(fields, axis=1)).mean() < 0.25
    assert all(axis[0] == low and axis[-1] <= high + 4 for axis, (low, high) in zip(axes, BOX_MM, strict=True))
    fine = smooth_field(numpy_generator("field", 0), box_axes(2.0), 20.0)
    seen = fine[::2, ::2, ::2]
    common = tuple(slice(min(sizes)) for sizes in zip(seen.shape, fields[0].shape, strict=True))
    assert np.corrcoef(seen[common].ravel(), fields[0][common].ravel())[0, 1] > 0.999


def test_upsampling_is_linear() -> None:
    coarse, fine = (Axes(*(np.arange(0, 12.1, step) for _ in range(3))) for step in (4.0, 1.0))
    x, y, z = np.meshgrid(*coarse, indexing="ij")
    values = upsampled((2 * x - y + 0.5 * z).astype(np.float32), coarse, fine)
    x, y, z = np.meshgrid(*fine, indexing="ij")
    np.testing.assert_allclose(values, 2 * x - y + 0.5 * z, atol=1e-4)


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


def test_negative_index_is_refused() -> None:
    with pytest.raises(UsageError, match="patients count from 0"):
        synthesise(0, -1, SETTINGS)
