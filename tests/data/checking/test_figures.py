"""The figures of cases and cohorts, and the limits of warnings, on arrays that are counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionloss.core.errors import DataError
from lesionloss.data.checking.case_summary import CaseSummary, spread, summarise_case, summarise_cohort
from lesionloss.data.checking.check_case import outside_brain
from lesionloss.data.checking.duplicates import image_numbers, same_images, thumbnail
from lesionloss.data.checking.survey import Survey, _few
from lesionloss.data.layouts.records import CaseFiles
from lesionloss.data.subject import Subject
from lesionloss.data.z_score import robust_z_score, z_score

FILES = CaseFiles("p1", "p", ((Path("image.nii"),),), Path("reference.nii"), Path("brain.nii"))


def subject(lesion: np.ndarray | None, brain: np.ndarray | None = None, spacing: float = 2.0) -> Subject:
    shape = (6, 10, 10) if lesion is None else lesion.shape
    image = np.zeros((1, *shape), np.float32)
    reference = None if lesion is None else lesion.astype(np.uint8)
    return Subject("p1", "p", (image, image), reference, brain, np.diag([1.0, 1.0, spacing, 1.0]))


def lesions() -> np.ndarray:
    """Lesions of 1, 4 and 5 voxels; two of the four touch at a corner only."""
    lesion = np.zeros((6, 10, 10), bool)
    lesion[0, 0, 0] = True
    lesion[2, 2, 2:4] = lesion[3, 3, 4:6] = True
    lesion[5, 2:7, 8] = True
    return lesion


def test_the_figures_of_a_case() -> None:
    brain = np.zeros((6, 10, 10), bool)
    brain[:, 1:9] = True
    found = summarise_case(subject(lesions(), brain))
    assert (found.visits, found.shape, found.spacing_mm) == (2, (6, 10, 10), (1.0, 1.0, 2.0))
    assert (found.lesions, found.lesion_voxels, found.voxels, found.brain_voxels) == (3, 10, 600, 480)
    assert (found.lesion_mm3, found.lesion_share) == (20.0, 10 / 600)
    assert found.lesion_sizes_mm3 == (2.0, 8.0, 10.0)
    assert found.tiny_lesions == 2  # 2 and 8 mm3; a cube of the longest edge has 8 mm3
    assert (found.brain_mask, found.reference) == (True, True)
    bare = summarise_case(subject(None))
    assert (bare.brain_mask, bare.reference, bare.lesions, bare.brain_voxels) == (False, False, 0, 0)
    assert bare.lesion_sizes_mm3 == ()


def test_spread_by_hand() -> None:
    assert spread([]) is None
    assert spread([3.0]) == {"mean": 3.0, "sd": 0.0, "median": 3.0, "min": 3.0, "max": 3.0}
    found = spread([1.0, 5.0])
    assert found == pytest.approx({"mean": 3.0, "sd": 8**0.5, "median": 3.0, "min": 1.0, "max": 5.0})


def test_the_figures_of_a_cohort() -> None:
    one = CaseSummary("a", "p", 1, (2, 2), (1.0, 1.0), 2, 3, 6.0, 0.75, True, voxels=4, brain_voxels=3)
    other = replace(one, name="b", lesions=0, lesion_voxels=0, lesion_mm3=0.0, lesion_share=0.0, voxels=8)
    other = replace(other, brain_mask=False, brain_voxels=0)
    one = replace(one, lesion_sizes_mm3=(2.0, 4.0))
    found = summarise_cohort([one, other])
    counts = ("cases", "patients", "positive_cases", "lesions", "lesion_voxels")
    assert [found[name] for name in counts] == [2, 1, 1, 2, 3]
    assert (found["lesion_mm3"], found["lesion_share"]) == (6.0, 3 / 12)
    means = {name: found[name]["mean"] for name in ("lesions_per_case", "lesion_mm3_per_case", "lesion_size_mm3")}
    assert means == {"lesions_per_case": 1.0, "lesion_mm3_per_case": 3.0, "lesion_size_mm3": 3.0}
    assert found["lesion_share_of_image"]["mean"] == 0.375
    assert found["lesion_share_of_brain"]["mean"] == 1.0
    assert summarise_cohort([])["lesion_share"] == 0.0
    survey = Survey("layout", "title", "target", (one, other), ())
    assert (survey.patients, survey.lesion_share) == (1, 3 / 12)
    assert Survey("layout", "title", "target", (), ()).lesion_share == 0.0


def test_lesions_outside_the_brain_are_a_problem_from_one_percent_or_one_lesion_on() -> None:
    lesion = np.zeros((10, 10, 10), bool)
    lesion[2:6, 0:5, 0:5] = True  # 100 voxels, one of which will be outside
    brain = np.ones_like(lesion)
    assert outside_brain(subject(lesion, brain), FILES) == ([], [])
    brain[2, 0, 0] = False
    problems, warnings = outside_brain(subject(lesion, brain), FILES)
    assert problems == []
    assert "1 reference voxels (1.0%) lie outside the brain mask brain.nii, 0 lesions wholly" in warnings[0]
    brain[3, 0, 0] = False
    assert "2 reference voxels (2.0%)" in outside_brain(subject(lesion, brain), FILES)[0][0]
    brain[3, 0, 0] = True
    lesion[9, 9, 9], brain[9, 9, 9], brain[2, 0, 0] = True, False, True
    problems, warnings = outside_brain(subject(lesion, brain), FILES)
    assert "1 reference voxels (1.0%) lie outside the brain mask brain.nii, 1 lesions wholly" in problems[0]
    assert warnings == []
    assert outside_brain(subject(lesion), FILES) == ([], [])
    assert outside_brain(subject(np.zeros_like(lesion), brain), FILES) == ([], [])


def test_z_scores_are_those_of_the_brain() -> None:
    image = np.array([[1.0, 3.0, 100.0]], np.float32)
    brain = np.array([[True, True, False]])
    scores = z_score(image, brain, "image")
    assert scores.tolist() == [[-1.0, 1.0, 98.0]]
    assert scores.dtype == np.float32
    with pytest.raises(DataError, match=r"image: all 2 voxels inside the brain mask are equal"):
        z_score(np.ones((1, 2), np.float32), np.ones((1, 2), bool), "image")


def test_robust_z_scores_do_not_follow_a_twentieth_of_bright_voxels() -> None:
    image = np.random.default_rng(0).normal(300, 20, (40, 40, 20)).astype(np.float32)
    brain = np.ones(image.shape, bool)
    bright = image.copy()
    bright[:2] = 3000
    assert np.abs(robust_z_score(image, brain, "image") - z_score(image, brain, "image")).max() < 0.05
    assert np.abs(robust_z_score(bright, brain, "image")[2:] - z_score(image, brain, "image")[2:]).max() < 0.4
    assert np.abs(z_score(bright, brain, "image")[2:] - z_score(image, brain, "image")[2:]).max() > 2
    image[:, :, 9:] = 0
    with pytest.raises(DataError, match=r"image: more than half of the 32000 voxels inside the brain mask are equal"):
        robust_z_score(image, brain, "image")


def test_a_thumbnail_holds_block_means_of_the_image_and_its_mirror_images() -> None:
    image = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    made = thumbnail("a", "p", Path("a.nii"), image)
    blocks = image.astype(np.float64).reshape(32, 2, 3).mean(1)
    for view, wanted in zip(made.views, (blocks, blocks[::-1], blocks[:, ::-1]), strict=True):
        centred = wanted - wanted.mean()
        assert view == pytest.approx((centred / np.linalg.norm(centred)).ravel(), abs=1e-6)
    flat = thumbnail("a", "p", Path("a.nii"), np.full((4, 4), 7.0))
    assert not flat.views.any()


def test_an_image_and_its_mirror_image_have_one_number() -> None:
    draw = np.random.default_rng(1)
    first, other = draw.normal(size=(2, 40, 40)).astype(np.float32)
    images = [first, other, first[::-1] * 3 + 5, other[:, :30], first]
    thumbnails = [thumbnail(str(n), f"p{n}", Path(f"{n}.nii"), image) for n, image in enumerate(images)]
    assert image_numbers(thumbnails) == [0, 1, 0, 3, 0]
    problems, warnings = same_images(thumbnails)
    assert len(problems) == 3
    assert sum("mirrored" in line for line in problems) == 2
    assert warnings == []


def test_one_image_as_two_visits_of_a_patient_is_found_and_a_file_of_two_pairs_is_not() -> None:
    image = np.random.default_rng(2).normal(size=(40, 40)).astype(np.float32)
    first, again = (thumbnail("a", "p", Path(name), image) for name in ("first.nii", "again.nii"))
    ((problem,), _) = same_images([first, again])
    assert problem.startswith("again.nii is the same image as first.nii, of the same patient")
    assert same_images([first, thumbnail("b", "p", Path("first.nii"), image)]) == ([], [])
    near = image + np.random.default_rng(3).normal(size=image.shape).astype(np.float32) * 0.01
    assert same_images([first, thumbnail("b", "p", Path("near.nii"), near)]) == ([], [])


def test_six_names_are_written_out_and_seven_are_not() -> None:
    assert _few(list("abcdef")) == "a, b, c, d, e, f"
    assert _few(list("abcdefg")) == "a, b, c, d, e, f, ..."
