"""Raw files are made ready as the training cases were, and what differs is done, said or refused."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from lesionloss import DataError, UsageError
from lesionloss.data.cohort import open_cohort
from lesionloss.data.layouts.records import CaseFiles
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import (
    DEEPBET,
    ClipSettings,
    PreparationRecipe,
    RegisterSettings,
    ResampleSettings,
)
from lesionloss.data.resampling.along_motion import move_image
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.subject import Subject
from lesionloss.inference.masks import numbered_lesions
from lesionloss.inference.predict import CaseSource, replay_preparation, source_of_files, sources_in
from lesionloss.inference.predict.replay_preparation import _registration, make_ready
from lesionloss.synth.patient import SyntheticPatient, synthesise
from lesionloss.synth.profiles import profile_settings
from make_cohort import write_cohort
from predict_cases import CHANNELS, SHAPE, bundle_of, load, write


def test_the_stored_preparation_is_replayed(visits: tuple[Path, Path, Path]) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    narrow, wide = (make_ready(source, bundle_of(preparation={"margin_voxels": n}).record).case for n in (0, 1))
    assert narrow.shape != wide.shape
    straight = np.diag([1.2, 0.9, 2.5, 1.0])
    again = [write(path, load(path).get_fdata().astype(np.float32), straight) for path in visits]
    source = source_of_files([again[0]], [again[1]], again[2])
    steps = ["n4", "brain", "resample", "crop", "normalise", "subtract"]
    settings = {"steps": steps, "n4": {"iterations": [2]}, "resample": {"spacing_mm": [1.5, 1.0, 2.0]}}
    ready = make_ready(source, bundle_of(preparation=settings).record)
    assert list(ready.steps) == steps[:-1]
    assert ready.case.spacing_mm == pytest.approx((1.5, 1.0, 2.0))
    assert ready.on_own_grid(ready.case.lesion).shape == ready.shape == SHAPE
    assert np.allclose(ready.affine, straight, atol=1e-5)
    assert any("bias fields removed" in note for note in ready.notes)
    assert any("predicted on voxels of 1.5 x 1 x 2 mm" in note for note in ready.notes)
    with pytest.raises(DataError, match=r"preparation .* is not known to this lesionloss"):
        make_ready(source, bundle_of(preparation={"steps": ["n5"]}).record)


SLICES = PreparationRecipe(
    steps=("orient", "resample", "clip", "scale_to_unit"),
    resample=ResampleSettings(size=(48, 32)),
    clip=ClipSettings(between=(20, 150)),
)
VOLUMES = PreparationRecipe(
    steps=("n4", "brain", "resample", "crop", "normalise"), resample=ResampleSettings(spacing_mm=(1.5, 2, 2.5))
)


@pytest.mark.parametrize("recipe", [VOLUMES, SLICES], ids=["volumes", "slices"])
def test_a_cohort_made_by_prepare_and_its_raw_files_give_the_same(recipe: PreparationRecipe, tmp_path: Path) -> None:
    """A bundle stores what the index of a prepared cohort says; replayed on raw files it gives the same case."""
    cohort = open_cohort(f"msseg2:{write_cohort(tmp_path / 'data', (2,))}")
    index = prepare_cohort(cohort, tmp_path / "prepared", recipe).index
    bundle = bundle_of(preparation=dict(index.preparation), channels=CHANNELS[:2])
    (raw,), (stored,) = sources_in(f"msseg2:{cohort.root}")[0], sources_in(str(tmp_path / "prepared"))[0]
    one, other = (make_ready(source, bundle.record) for source in (raw, stored))
    assert one.case.content_sha256 == other.case.content_sha256
    assert one.shape == other.shape
    assert np.allclose(one.affine, other.affine)
    assert not other.notes
    plain = make_ready(stored, bundle_of(channels=CHANNELS[:2]).record)
    assert "prepared in another way than the model's training cases: " in plain.notes[0]
    differ = "n4, orient, resample, steps differ" if recipe is VOLUMES else "clip, resample, steps differ"
    assert differ in plain.notes[0]


def files_of(source: CaseSource) -> CaseFiles:
    assert source.files is not None
    return source.files


@pytest.fixture(scope="module")
def moved_visits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, SyntheticPatient]:
    """A synthetic patient whose baseline lies on another grid, turned by 7 degrees and shifted; brain on the latter."""
    patient = next(
        found
        for found in (synthesise(3, n, profile_settings("demo", {"spacing_mm": 2.5})) for n in range(9))
        if found.reference.any()
    )
    folder = tmp_path_factory.mktemp("moved")
    baseline, followup = (visit.astype(np.float32) for visit in patient.visits)
    here = VoxelGrid(followup.shape, patient.affine)
    turned = np.eye(4)
    cos, sin = np.cos(np.radians(7)), np.sin(np.radians(7))
    turned[:3] = [[cos, -sin, 0, 6], [sin, cos, 0, -4], [0, 0, 1, 3]]
    other = VoxelGrid(
        (80, 84, 70), np.diag([2.7, 2.6, 2.8, 1]) + np.array([[0, 0, 0, x] for x in (-106, -140, -88, 0)])
    )
    moved = move_image(baseline, here, other, np.linalg.inv(turned).astype(np.float64))
    return (
        write(folder / "first.nii.gz", moved, other.affine),
        write(folder / "second.nii.gz", followup, patient.affine),
        write(folder / "brain.nii.gz", patient.brain.astype(np.uint8), patient.affine),
        patient,
    )


def test_a_baseline_on_another_grid_is_registered_and_lesions_are_found_at_their_place(
    moved_visits: tuple[Path, Path, Path, SyntheticPatient],
) -> None:
    first, second, brain, patient = moved_visits
    ready = make_ready(source_of_files([first], [second], brain), bundle_of().record, raw=False)
    found = ready.steps["register"]
    assert found["to"] == "followup"
    assert found["rotation_degrees"] == pytest.approx(7, abs=0.5)
    assert re.search(
        r"baseline registered to the follow-up \(their grids differ\): (6\.[5-9]|7(\.[0-5])?) degrees", ready.notes[0]
    )
    assert ready.shape == patient.reference.shape
    assert np.allclose(ready.affine, patient.affine, atol=1e-4)
    difference = ready.on_own_grid(ready.case.image[2])
    numbers = numbered_lesions(patient.reference > 0, 26)
    lesions = [numbers == n for n in range(1, numbers.max() + 1)]
    lesion = max(lesions, key=lambda inside: difference[inside].sum())  # the one that stands out most
    middle = np.argwhere(lesion).mean(axis=0)
    bright = numbered_lesions(ndimage.gaussian_filter(difference, 0.7) > 0.5 * difference[lesion].mean(), 26)
    nearest = min(np.linalg.norm(np.argwhere(bright == n).mean(axis=0) - middle) for n in range(1, bright.max() + 1))
    assert nearest < 1.0


def test_registration_can_be_refused_or_requested(moved_visits: tuple[Path, Path, Path, SyntheticPatient]) -> None:
    first, second, brain, _ = moved_visits
    source = source_of_files([first], [second], brain)
    with pytest.raises(DataError, match=r"not on one grid.*leave out --no-register"):
        make_ready(source, bundle_of().record, register=False)
    registration = _registration(files_of(source), PreparationRecipe(), True)
    assert registration == (RegisterSettings(to="followup"), "as requested")
    halfway = PreparationRecipe(steps=("register", "brain", "crop", "normalise", "subtract"))
    assert _registration(files_of(source), halfway, None) == (
        RegisterSettings(to="halfway"),
        "as the model's training cases were",
    )
    one_grid = source_of_files([second], [second])
    assert _registration(files_of(one_grid), PreparationRecipe(), None) == (None, "")


def test_other_voxels_and_other_axes_than_those_of_training_are_said(visits: tuple[Path, Path, Path]) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    for training, says in (
        ({"spacing_mm": [0.8, 0.9, 1.0]}, "trained on voxels of 0.8 x 0.9 x 1 mm"),
        ({"axes": "SAR"}, "axes of the images run RAS, those that the model was trained on SAR"),
    ):
        (note,) = make_ready(source, bundle_of(training=training).record).notes
        assert says in note
    alike = {"spacing_mm": [0.85, 0.95, 2.4], "axes": "RAS"}
    assert not make_ready(source, bundle_of(training=alike).record).notes


def test_a_model_for_other_channels_says_so(visits: tuple[Path, Path, Path]) -> None:
    source = source_of_files([], [visits[1]], visits[2])
    with pytest.raises(DataError, match="trained on baseline, followup, difference, these files give contrast1"):
        make_ready(source, bundle_of().record)
    with pytest.raises(UsageError, match="--followup is missing"):
        source_of_files([visits[0]], [])
    with pytest.raises(UsageError, match="--baseline has 2 files, --followup 1"):
        source_of_files(list(visits[:2]), [visits[1]])


def test_a_missing_brain_mask_is_computed_with_a_remark(visits: tuple[Path, Path, Path]) -> None:
    (note,) = make_ready(source_of_files([visits[0]], [visits[1]]), bundle_of().record).notes
    assert "no brain mask" in note
    assert not make_ready(source_of_files([visits[0]], [visits[1]], visits[2]), bundle_of().record).notes


def test_a_header_without_an_orientation_is_said(visits: tuple[Path, Path, Path]) -> None:
    for path in visits:
        image = load(path)
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
        nibabel.save(image, path)
    (note,) = make_ready(source_of_files([visits[0]], [visits[1]], visits[2]), bundle_of().record).notes
    assert note.startswith("no orientation in the header of baseline.nii.gz, followup.nii.gz")


def test_registration_does_not_depend_on_how_the_files_are_stored(
    moved_visits: tuple[Path, Path, Path, SyntheticPatient], tmp_path: Path
) -> None:
    """The baseline on another grid and all files stored along other axes: the same prepared case, back on its grid."""
    turned = []
    for path, axes in zip(moved_visits[:3], ("PIR", "LSA", "LSA"), strict=True):
        image = load(path)
        turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(axes))
        turned.append(tmp_path / path.name)
        nibabel.save(image.as_reoriented(turn), turned[-1])
    plain, other = (
        make_ready(source_of_files([first], [second], brain), bundle_of().record, raw=False)
        for first, second, brain in (moved_visits[:3], turned)
    )
    np.testing.assert_allclose(other.case.image, plain.case.image, atol=5e-3)
    here = load(turned[1])
    assert other.shape == here.shape
    there = nibabel.Nifti1Image(other.on_own_grid(other.case.image[1]), other.affine)
    back = there.as_reoriented(ornt_transform(io_orientation(here.affine), io_orientation(plain.affine)))
    np.testing.assert_allclose(np.asarray(back.dataobj), plain.on_own_grid(plain.case.image[1]), atol=5e-3)


@pytest.mark.parametrize(
    ("source", "given", "installed", "tool"),
    [
        ("auto", False, True, True),
        ("auto", False, False, False),  # the simple mask, with a remark
        ("auto", True, True, False),
        ("builtin", False, True, False),
    ],
)
def test_deepbet_is_taken_where_a_mask_lacks_the_recipe_leaves_the_choice_and_it_is_installed(
    source: str, given: bool, installed: bool, tool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_preparation, "find_program", lambda name: f"/bin/{name}" if installed else None)
    shape = (4, 4, 4)
    subject = Subject(
        name="a",
        patient="a",
        visits=(np.zeros((1, *shape), np.float32),),
        reference=None,
        brain=np.ones(shape, bool) if given else None,
        affine=np.eye(4),
    )
    recipe = PreparationRecipe.model_validate({"brain": {"source": source}})
    found = replay_preparation.with_best_brain(recipe, subject)
    assert found.brain == (DEEPBET if tool else recipe.brain)
    assert found.steps == recipe.steps
