"""A whole preparation: back to the original grid, storage, recipes, and external programs."""

import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from data_cohorts import AFFINE, REAL_LIT, SHAPE, boxes, head
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.array_files import pack_image, unpack_image
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.brain_mask import tool_brain
from lesionloss.data.preparation.case_state import finish_preparation, start_preparation
from lesionloss.data.preparation.read_case import without_registration
from lesionloss.data.preparation.recipe import PreparationRecipe, load_recipe, make_recipe
from lesionloss.data.preparation.steps import run_steps
from lesionloss.data.prepared import load_prepared, save_prepared, to_original_grid
from step_cases import FINE, prepared, smooth, subject


@pytest.mark.parametrize("recipe", [PreparationRecipe(), make_recipe(FINE, "x")], ids=["cropped", "resampled"])
def test_the_reference_comes_back_from_either_grid(recipe: PreparationRecipe, tmp_path: Path) -> None:
    reference = boxes((8, 9, 5)) | boxes((13, 13, 7), edge=1)
    case = finish_preparation(run_steps(start_preparation(without_registration(subject(reference))), recipe))
    save_prepared(case, tmp_path / "a.npz")
    again = load_prepared(tmp_path / "a.npz")
    assert again.content_sha256 == case.content_sha256
    back = to_original_grid(again.reference, again)
    assert back.shape == SHAPE
    assert ndimage.label(back)[1] == 2
    if recipe == PreparationRecipe():
        np.testing.assert_array_equal(back, reference)
    else:
        assert again.origin is not None
        # Back where it was, to within the partial volumes at its border.
        assert 2 * (back.astype(bool) & reference).sum() / (back.sum() + reference.sum()) > 0.8
        smooth_back = to_original_grid(again.image[0], again)
        assert np.corrcoef(smooth_back[head(share=0.6)], subject().visits[0][0][head(share=0.6)])[0, 1] > 0.8


def test_resampling_inside_the_crop_changes_no_number() -> None:
    whole = prepared({**FINE, "steps": ["brain", "resample", "normalise", "subtract"]}, boxes((8, 9, 5)))
    part = prepared({**FINE, "crop": {"margin_voxels": 1}}, boxes((8, 9, 5)))
    box = tuple(slice(o, o + n) for o, n in zip(part.offset, part.shape, strict=True))
    np.testing.assert_array_equal(part.reference, whole.reference[box])
    np.testing.assert_allclose(part.image, whole.image[(slice(None), *box)], atol=1e-4)


def test_steps_that_are_not_named_are_not_done() -> None:
    case = prepared({"steps": []}, boxes((8, 9, 5)))
    assert case.channels == ("baseline", "followup")
    assert case.shape == SHAPE
    np.testing.assert_array_equal(case.image[0], subject().visits[0][0])


def test_slices_are_resized_in_their_plane_and_back() -> None:
    reference = boxes((8, 9, 5)) | boxes((13, 13, 7), edge=1)
    recipe: dict[str, object] = {"steps": ["resample", "scale_to_unit"], "resample": {"size": [48, 64]}}
    case = prepared(recipe, reference)
    assert case.shape == (48, 64, SHAPE[2])
    edges = [n * edge / wanted for n, edge, wanted in zip(SHAPE, subject().spacing_mm, (48, 64), strict=False)]
    assert case.spacing_mm == pytest.approx((*edges, subject().spacing_mm[2]))
    back = to_original_grid(case.reference, case)
    assert back.shape == SHAPE
    np.testing.assert_array_equal(back.any((0, 1)), reference.any((0, 1)))  # no slice gains or loses a lesion
    assert 2 * (back.astype(bool) & reference).sum() / (back.sum() + reference.sum()) > 0.9
    image = to_original_grid(case.image[0], case)
    assert np.corrcoef(image[head(share=0.6)], subject().visits[0][0][head(share=0.6)])[0, 1] > 0.95
    with pytest.raises(DataError, match=r"resample\.spacing_mm has 2 numbers, the image 3 axes"):
        prepared({"steps": ["resample"], "resample": {"spacing_mm": [1, 1]}}, reference)


def test_intensities_are_clipped_and_scaled_to_unit() -> None:
    """As TopK Dice prints it for CT: [-125, 275] becomes [0, 1], values beyond lie at the ends."""
    image = np.linspace(-1000, 1000, np.prod(SHAPE), dtype=np.float32).reshape(1, *SHAPE)
    bare = replace(subject(), visits=(image,), brain=None)
    recipe = make_recipe({"steps": ["clip", "scale_to_unit"], "clip": {"between": [-125, 275]}}, "x")
    state = run_steps(start_preparation(without_registration(bare)), recipe)
    (found,) = finish_preparation(state).image
    np.testing.assert_allclose(found, ((image[0] + 125) / 400).clip(0, 1), atol=1e-6)
    assert (float(found.min()), float(found.max())) == (0, 1)
    assert state.record["scale_to_unit"] == {"inside": "image"}
    inside = prepared({"steps": ["scale_to_unit"]}, boxes((8, 9, 5)))
    assert not inside.image[:, ~inside.brain].any()
    assert [(visit[inside.brain].min(), visit[inside.brain].max()) for visit in inside.image] == [(0, 1), (0, 1)]
    constant = replace(bare, visits=(0 * image,))
    with pytest.raises(DataError, match=r"a, visit 1: all \d+ voxels inside the brain mask are equal"):
        run_steps(start_preparation(without_registration(constant)), make_recipe({"steps": ["scale_to_unit"]}, "x"))


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_no_reference_voxel_of_the_real_set_moves() -> None:
    cohort = open_cohort(REAL_LIT, "change")
    for files in cohort.cases:
        whole = load_subject(cohort, files)
        case = finish_preparation(run_steps(start_preparation(without_registration(whole)), PreparationRecipe()))
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
        ({"steps": ["brain", "corp"]}, "steps.1: unknown name 'corp'; did you mean 'crop'?"),
        ({"steps": ["brain", "brain"]}, "steps names brain twice"),
        ({"steps": ["brain", "register"]}, "register must be the first"),
        ({"steps": ["resample"]}, "resample.spacing_mm"),
        ({"steps": ["clip"]}, "the step clip needs clip.between"),
        ({"steps": ["clip"], "clip": {"between": [275, -125]}}, "the step clip needs clip.between"),
        ({"steps": ["crop", "resample"], "resample": {"spacing_mm": [1, 1, 1]}}, "crop must follow resample"),
        ({"steps": ["subtract", "crop"]}, "subtract must be the last"),
        ({"steps": ["crop", "difference"]}, "'difference' is called 'subtract' since 0.2"),
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


def test_the_interpolation_of_images_is_a_setting_that_older_recipes_do_not_have() -> None:
    resample = {"spacing_mm": [0.8, 0.8, 1.2], "interpolation": "linear"}
    plain, linear = make_recipe(FINE, "x"), make_recipe({**FINE, "resample": resample}, "x")
    assert "interpolation" not in plain.settings()["resample"]  # so that nothing is prepared again
    assert linear.settings()["resample"]["interpolation"] == "linear"
    assert make_recipe(linear.settings(), "x") == linear  # as predict replays it
    cubic, straight = (prepared({**recipe.settings()}, boxes((8, 9, 5))) for recipe in (plain, linear))
    np.testing.assert_array_equal(cubic.reference, straight.reference)
    assert np.abs(cubic.image - straight.image).max() > 0


def test_robust_z_scores_are_a_setting_that_older_recipes_do_not_have() -> None:
    plain, robust = (make_recipe({"steps": ["normalise"], "normalise": {"robust": on}}, "x") for on in (False, True))
    assert plain.settings() == {"steps": ["normalise"]}  # so that nothing is prepared again
    assert make_recipe(robust.settings(), "x") == robust  # as predict replays it
    case = prepared(robust.settings(), boxes((8, 9, 5)))
    for visit in case.image[:2]:
        inside = visit[case.brain]
        assert abs(float(np.median(inside))) < 1e-5
        assert 1.4826 * float(np.median(np.abs(inside))) == pytest.approx(1, abs=1e-5)


def test_a_given_mask_can_be_left_unused() -> None:
    recipe = {"steps": ["brain", "normalise"], "brain": {"source": "whole"}}
    masked, whole = prepared({"steps": ["normalise"]}), prepared(recipe)
    assert not masked.brain.all()
    assert whole.brain.all()
    assert not (whole.image == 0).any()
    for channel in whole.image:
        assert (channel.mean(), channel.std()) == pytest.approx((0, 1), abs=1e-3)


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
        ("pass", "left no m.nii.gz; name the file that it writes under brain.mask"),
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
    with pytest.raises(DataError, match=r"'no-such-bet', is not installed.*--brain-from builtin"):
        tool_brain(subject().visits[0][0], AFFINE, ("no-such-bet",), "m.nii.gz")


def test_a_mask_that_must_be_given_is_missed() -> None:
    bare = replace(subject(), brain=None)
    with pytest.raises(DataError, match="a: no brain mask beside the images"):
        run_steps(start_preparation(without_registration(bare)), make_recipe({"brain": {"source": "given"}}, "x"))
    work = run_steps(start_preparation(without_registration(bare)), PreparationRecipe())
    assert work.brain_from == "threshold"
    assert "keeps parts of the skull" in work.repairs[0]
