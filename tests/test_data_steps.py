"""The steps of a preparation: splines, labels that keep their lesions, registration, N4, tools, and the way back."""

import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from data_cohorts import AFFINE, REAL_LIT, SHAPE, boxes, head, visits
from lesionloss.data.bias import correct_bias
from lesionloss.data.brain import tool_brain
from lesionloss.data.cases import case_of, work_of
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.prepared import PreparedCase, load_prepared, save_prepared, to_original_grid
from lesionloss.data.reading import reading_of
from lesionloss.data.recipe import Recipe, load_recipe, make_recipe
from lesionloss.data.register import half, halfway_grid, move_image, move_labels, register
from lesionloss.data.resample import Grid, grid_with_spacing, resample_image, resample_labels, resample_nearest
from lesionloss.data.steps import carry_out
from lesionloss.data.storage import pack_image, unpack_image
from lesionloss.data.subject import Subject
from lesionloss.errors import DataError, UsageError

FINE = {"steps": ["brain", "resample", "crop", "normalise", "difference"], "resample": {"spacing_mm": [0.8, 0.8, 1.2]}}


def subject(reference: np.ndarray | None = None) -> Subject:
    images = visits(3, head(), boxes((8, 9, 5)), np.zeros(SHAPE, bool))
    labels = None if reference is None else reference.astype(np.uint8)
    return Subject("a", "p", tuple(image[None].astype(np.float32) for image in images), labels, head(), AFFINE)


def prepared(recipe: dict[str, object], reference: np.ndarray | None = None) -> PreparedCase:
    return case_of(carry_out(work_of(reading_of(subject(reference))), make_recipe(recipe, "test")))


def smooth(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, shape), 1.5).astype(np.float32)


def test_splines_are_those_of_simpleitk() -> None:
    itk = pytest.importorskip("SimpleITK")
    source = Grid((30, 32, 20), np.diag([0.72, 0.72, 3.0, 1.0]))
    target = grid_with_spacing(source, (0.5, 0.75, 0.75))
    image = smooth(source.shape)
    whole = itk.GetImageFromArray(image.T)
    whole.SetSpacing(source.spacing_mm)
    resampler = itk.ResampleImageFilter()
    resampler.SetInterpolator(itk.sitkBSpline)
    resampler.SetSize(target.shape)
    resampler.SetOutputSpacing(target.spacing_mm)
    resampler.SetOutputOrigin(target.affine[:3, 3].tolist())
    theirs = itk.GetArrayFromImage(resampler.Execute(whole)).T
    ours = resample_image(image, source, target)
    assert ours.shape == target.shape == (43, 31, 80)
    inner = (slice(3, -3), slice(3, -3), slice(6, -6))
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5)


def test_a_grid_of_another_spacing_covers_the_same_place() -> None:
    source = Grid(SHAPE, AFFINE)
    target = grid_with_spacing(source, (0.5, 1.0, 1.5))
    assert target.shape == (44, 24, 28)
    assert target.spacing_mm == pytest.approx((0.5, 1, 1.5))
    for grid in (source, target):
        middle = grid.affine @ [*((n - 1) / 2 for n in grid.shape), 1]
        np.testing.assert_allclose(middle, source.affine @ [*((n - 1) / 2 for n in SHAPE), 1])
    assert grid_with_spacing(source, (1, 1, 3)).shape == SHAPE
    flat = grid_with_spacing(Grid((10, 20), np.eye(4)), (0.5, 2))
    assert flat.shape == (20, 10)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spacing=st.tuples(*(st.floats(0.4, 9.0) for _ in range(3))),
)
def test_no_lesion_vanishes_whatever_the_spacing(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    for number in rng.integers(1, 3, 6):
        corner = [int(rng.integers(0, n - 2)) for n in SHAPE]
        size = rng.integers(1, 4, 3)
        labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = number
    source = Grid(SHAPE, AFFINE)
    target = grid_with_spacing(source, spacing)
    result, count = resample_labels(labels, source, target)
    assert result.shape == target.shape
    assert set(np.unique(result)) <= set(np.unique(labels))
    # Each lesion has a voxel of its class near it: within one voxel of the target, or where it was.
    reach = max(1, *np.ceil(np.array(target.spacing_mm) / source.spacing_mm).astype(int))
    back = resample_nearest(result, target, source)
    for number in set(np.unique(labels)) - {0}:
        components, total = ndimage.label(labels == number, np.ones((3, 3, 3)))
        for label in range(1, total + 1):
            near = ndimage.binary_dilation(components == label, np.ones((3, 3, 3)), iterations=int(reach))
            on_target = resample_nearest(near.astype(np.uint8), source, target) > 0
            assert (back[near] == number).any() or (result[on_target] == number).any()
    assert count.before >= 1
    assert 0 <= count.kept_by_centre <= count.before


def test_a_lost_lesion_keeps_its_centre_and_is_counted() -> None:
    labels = boxes((2, 2, 2), edge=1) | boxes((12, 12, 6), edge=6)
    result, count = resample_labels(
        labels.astype(np.uint8), Grid(SHAPE, AFFINE), grid_with_spacing(Grid(SHAPE, AFFINE), (3, 3, 3))
    )
    assert (count.before, count.after, count.kept_by_centre) == (2, 2, 1)
    assert result[0, 0, 2] + result[1, 1, 2] == 1


def test_the_same_grid_is_left_alone() -> None:
    labels = boxes((2, 2, 2)).astype(np.uint8)
    grid = Grid(SHAPE, AFFINE)
    image = smooth(SHAPE)
    assert resample_image(image, grid, grid_with_spacing(grid, (1, 1, 3))) is image
    np.testing.assert_array_equal(resample_labels(labels, grid, grid)[0], labels)


def moved_head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured head, the same moved by a known motion, and the motion."""
    shape = (48, 52, 40)
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = [-48, -52, -50]
    image = np.where(head(shape, 0.75), 300 + 1500 * smooth(shape), 5).astype(np.float32)
    image[10:14, 20:30, 12:20] += 200
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [3, -5, 4], degrees=True).as_matrix()
    motion[:3, 3] = [3, -4, 2]
    grid = Grid(shape, affine)
    return image, move_image(image, grid, grid, np.linalg.inv(motion)), motion


def test_registration_finds_a_known_motion_and_always_the_same() -> None:
    image, moved, motion = moved_head()
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    affine[:3, 3] = [-48, -52, -50]
    found = register((image, affine), (moved, affine), "a")
    corners = affine @ np.array([[x, y, z, 1] for x in (8, 40) for y in (8, 44) for z in (8, 32)], dtype=float).T
    apart = np.linalg.norm((found.affine @ corners - motion @ corners)[:3], axis=0)
    assert apart.max() < 0.6
    assert found.similarity > found.before
    assert register((image, affine), (moved, affine), "a") == found


def test_half_a_motion_twice_is_the_motion() -> None:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix()
    motion[:3, 3] = [30, -4, 12]
    step = half(motion)
    np.testing.assert_allclose(step @ step, motion, atol=1e-9)
    np.testing.assert_allclose(step[:3, :3] @ step[:3, :3].T, np.eye(3), atol=1e-9)
    grid = Grid(SHAPE, AFFINE)
    middle = AFFINE @ [*((n - 1) / 2 for n in SHAPE), 1]
    between = halfway_grid(grid, step)
    np.testing.assert_allclose(between.affine @ [*((n - 1) / 2 for n in SHAPE), 1], step @ middle)
    np.testing.assert_allclose(between.spacing_mm, grid.spacing_mm)


def test_labels_that_move_lose_no_lesion_and_come_back() -> None:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", 12, degrees=True).as_matrix()
    motion[:3, 3] = [0.5, -0.5, 0.7]
    grid = Grid(SHAPE, AFFINE)
    labels = (boxes((8, 9, 5), edge=1) | boxes((13, 13, 7), edge=3)).astype(np.uint8)
    moved, count = move_labels(labels, grid, grid, motion)
    assert (count.before, count.after) == (2, 2)
    back, _ = move_labels(moved, grid, grid, np.linalg.inv(motion))
    assert ndimage.label(back)[1] == 2


def test_n4_takes_a_known_field_away() -> None:
    shape = (40, 44, 32)
    brain = head(shape, 0.8)
    plain = np.where(brain, 300 + 40 * smooth(shape), 0).astype(np.float32)
    field = np.exp(0.4 * np.linspace(-1, 1, shape[0]))[:, None, None].astype(np.float32)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    corrected, spread = correct_bias(plain * field, affine, brain, "a", voxel_mm=6.0, iterations=(30, 30))
    ratio = corrected[brain] / plain[brain]
    assert float(ratio.std() / ratio.mean()) < 0.02 < float(field.std() / field.mean()) / 5
    assert spread > 1.5
    with pytest.raises(DataError, match="a: no voxel above zero"):
        correct_bias(-plain, affine, brain, "a", iterations=(10,))


@pytest.mark.parametrize("recipe", [Recipe(), make_recipe(FINE, "x")], ids=["cropped", "resampled"])
def test_the_reference_comes_back_from_either_grid(recipe: Recipe, tmp_path: Path) -> None:
    reference = boxes((8, 9, 5)) | boxes((13, 13, 7), edge=1)
    case = case_of(carry_out(work_of(reading_of(subject(reference))), recipe))
    save_prepared(case, tmp_path / "a.npz")
    again = load_prepared(tmp_path / "a.npz")
    assert again.content_sha256 == case.content_sha256
    back = to_original_grid(again.reference, again)
    assert back.shape == SHAPE
    assert ndimage.label(back)[1] == 2
    if recipe == Recipe():
        np.testing.assert_array_equal(back, reference)
    else:
        assert again.origin is not None
        # Back where it was, to within the partial volumes at its border.
        assert 2 * (back.astype(bool) & reference).sum() / (back.sum() + reference.sum()) > 0.8
        smooth_back = to_original_grid(again.image[0], again)
        assert np.corrcoef(smooth_back[head(share=0.6)], subject().visits[0][0][head(share=0.6)])[0, 1] > 0.8


def test_resampling_inside_the_crop_changes_no_number() -> None:
    whole = prepared({**FINE, "steps": ["brain", "resample", "normalise", "difference"]}, boxes((8, 9, 5)))
    part = prepared({**FINE, "crop": {"margin_voxels": 1}}, boxes((8, 9, 5)))
    box = tuple(slice(o, o + n) for o, n in zip(part.offset, part.shape, strict=True))
    np.testing.assert_array_equal(part.reference, whole.reference[box])
    np.testing.assert_allclose(part.image, whole.image[(slice(None), *box)], atol=1e-4)


def test_steps_that_are_not_named_are_not_done() -> None:
    case = prepared({"steps": []}, boxes((8, 9, 5)))
    assert case.channels == ("baseline", "followup")
    assert case.shape == SHAPE
    np.testing.assert_array_equal(case.image[0], subject().visits[0][0])


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_no_reference_voxel_of_the_real_set_moves() -> None:
    cohort = open_cohort(REAL_LIT, "change")
    for files in cohort.cases:
        whole = load_subject(cohort, files)
        case = case_of(carry_out(work_of(reading_of(whole)), Recipe()))
        assert case.origin is None
        np.testing.assert_array_equal(to_original_grid(case.reference, case), whole.reference)


def test_images_are_packed_bit_for_bit() -> None:
    brain = head()
    image = np.where(brain, smooth((2, *SHAPE)), 0).astype(np.float32)
    with_difference = np.concatenate([image, (image[1] - image[0])[None]])
    packed = pack_image(with_difference, brain)
    assert packed["values"].shape == (2, int(brain.sum()))
    for content in (with_difference, image, np.where(brain, image, 3), np.where(brain, image, np.float32(-0.0))):
        again = unpack_image(pack_image(content, brain), brain)
        np.testing.assert_array_equal(again.view(np.uint32), np.ascontiguousarray(content).view(np.uint32))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"stepz": []}, "unknown key stepz; did you mean 'steps'?"),
        ({"crop": {"margin": 3}}, "unknown key crop.margin; did you mean 'margin_voxels'?"),
        ({"steps": ["brain", "corp"]}, "steps.1: no step is named 'corp'; did you mean 'crop'?"),
        ({"steps": ["brain", "brain"]}, "steps names brain twice"),
        ({"steps": ["brain", "register"]}, "register must be the first"),
        ({"steps": ["resample"]}, "resample.spacing_mm"),
        ({"steps": ["crop", "resample"], "resample": {"spacing_mm": [1, 1, 1]}}, "crop must follow resample"),
        ({"steps": ["difference", "crop"]}, "difference must be the last"),
        ({"brain": {"source": "tool"}}, "needs command"),
        ({"resample": {"spacing_mm": [0, 1, 1]}}, "resample.spacing_mm"),
        ({"n4": {"iterations": []}, "crop": {"margin_voxels": -1}}, "crop.margin_voxels"),
    ],
)
def test_a_wrong_plan_names_the_key(record: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=r"^plan\.toml: ") as caught:
        make_recipe(record, "plan.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_reads_back(tmp_path: Path) -> None:
    recipe = make_recipe({**FINE, "register": {"to": "followup"}}, "x")
    (tmp_path / "plan.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "plan.toml") == recipe
    (tmp_path / "plan.toml").write_text("steps = [")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_recipe(tmp_path / "plan.toml")
    with pytest.raises(UsageError, match="no such plan"):
        load_recipe(tmp_path / "other.toml")
    assert "crop" not in make_recipe({"steps": ["normalise"]}, "x").settings()


def tool(tmp_path: Path, body: str) -> str:
    """A program that stands for an external one: it gets the image's and the folder's name."""
    path = tmp_path / "my-bet"
    path.write_text(f"#!{sys.executable}\nimport sys, nibabel, numpy as np\nsource, folder = sys.argv[1:]\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_an_external_program_makes_the_mask(tmp_path: Path) -> None:
    image = subject().visits[0][0]
    body = (
        "i = nibabel.load(source); m = (i.get_fdata() > 100).astype(np.uint8)\n"
        "nibabel.save(nibabel.Nifti1Image(m, i.affine), folder + '/m.nii.gz')"
    )
    found = tool_brain(image, AFFINE, (tool(tmp_path, body), "{image}", "{folder}"), "{folder}/m.nii.gz")
    np.testing.assert_array_equal(found, image > 100)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('out of memory; rm -rf $HOME')", "my-bet ended with code 1: out of memory"),
        ("pass", "left no m.nii.gz; say under brain.mask"),
        (
            "nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), folder + '/m.nii.gz')",
            "of shape",
        ),
    ],
)
def test_a_program_that_fails_is_named(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DataError, match="my-bet") as caught:
        tool_brain(subject().visits[0][0], AFFINE, (tool(tmp_path, body), "{image}", "{folder}"), "{folder}/m.nii.gz")
    assert message in str(caught.value)


def test_a_program_that_is_not_installed_is_named_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"'no-such-bet' is not installed.*--brain builtin"):
        tool_brain(subject().visits[0][0], AFFINE, ("no-such-bet",), "m.nii.gz")


def test_a_mask_that_must_be_given_is_missed() -> None:
    bare = replace(subject(), brain=None)
    with pytest.raises(DataError, match="a: no brain mask beside the images"):
        carry_out(work_of(reading_of(bare)), make_recipe({"brain": {"source": "given"}}, "x"))
    work = carry_out(work_of(reading_of(bare)), Recipe())
    assert work.brain_from == "threshold"
    assert "keeps parts of the skull" in work.repairs[0]
