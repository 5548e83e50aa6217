"""The synthetic patient: reproducible, and true to its own record."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.synth import SyntheticPatient, SynthSettings, profile_settings, synthesise, synthetic_patients
from lesionloss.synth.anatomy import draw_anatomy
from lesionloss.synth.patient_plan import KINDS
from synth_cases import SETTINGS, isotropic

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
    pairs: list[tuple[np.ndarray, np.ndarray]] = [
        *zip(again.visits, patients[1].visits, strict=True),
        *zip(again.clean, patients[1].clean, strict=True),
    ]
    for twice, once in pairs:
        assert twice.dtype == once.dtype
        np.testing.assert_array_equal(twice, once)


def test_patients_without_end_are_those_of_the_cohort(patients: list[SyntheticPatient]) -> None:
    first = next(synthetic_patients(SEED, SETTINGS, start=1))
    assert first.record == patients[1].record
    np.testing.assert_array_equal(first.visits[1], patients[1].visits[1])
    third, fourth = itertools.islice(synthetic_patients(SEED, SynthSettings(spacing_mm=4.0), start=3), 2)
    assert (third.record.index, fourth.record.index) == (3, 4)


def test_arrays_share_a_grid_and_are_finite(patients: list[SyntheticPatient]) -> None:
    for patient in patients:
        shape = patient.brain.shape
        arrays: list[np.ndarray] = [*patient.visits, *patient.clean, patient.reference]
        for array in (*arrays, *patient.lesions, *patient.kinds.values()):
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
    assert np.median(np.abs(signal - busy.rise)[came]) < 0.5 * np.median(busy.rise[came])
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


def test_negative_index_is_refused() -> None:
    with pytest.raises(UsageError, match="patients count from 0"):
        synthesise(0, -1, SETTINGS)
