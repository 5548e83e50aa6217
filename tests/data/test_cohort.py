"""Folders recognised, patients left out, subjects read and refused; the real Ljubljana set where it is at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_cohorts import AFFINE, LIT_NAMES, MSSEG2_NAMES, REAL_LIT, SHAPE, boxes, head, save, write_lit, write_msseg2
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.layouts.lit import changes, difference_of
from lesionloss.data.subject import Subject
from subjects import reference_of

needs_lit = pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")


def test_layouts_are_recognised_by_their_files(tmp_path: Path) -> None:
    lit = open_cohort(write_lit(tmp_path / "a" / "longitudinal" / "coregistered").parents[1])
    assert (lit.layout.name, lit.target.name) == ("lit", "positive_change")
    assert [files.name for files in lit.cases] == ["patient01", "patient02", "patient03"]
    above = open_cohort(write_msseg2(tmp_path / "b"))
    inside = open_cohort(str(tmp_path / "b" / "training"))
    assert above.layout.name == inside.layout.name == "msseg2"
    assert above.cases == inside.cases
    assert above.cases[0].visits[0][0] == tmp_path / "b" / "training" / "013" / f"{MSSEG2_NAMES[0]}.nii.gz"
    assert open_cohort(f"msseg2:{tmp_path / 'b'}").cases == above.cases


def test_an_unknown_folder_is_told_which_layouts_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_cohort(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: not a known dataset layout")
    assert "known: lit, msseg2, " in message
    assert f"name it (lit:{tmp_path}), and the error says which files are missing" in message
    assert len(message) < 400 + 2 * len(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("litt:{root}", "no dataset layout is named 'litt'; did you mean 'lit'"),
        ("{root}/nowhere", "nowhere: no such folder"),
        ("lit:{root}/nowhere", "nowhere: no such folder"),
        ("{root}/patient01/gt.nii.gz", "is a file, not a folder"),
    ],
)
def test_a_wrong_path_or_layout_is_a_usage_error(tmp_path: Path, text: str, message: str) -> None:
    root = write_lit(tmp_path, patients=1)
    with pytest.raises(UsageError) as caught:
        open_cohort(text.format(root=root))
    assert message in str(caught.value)


def test_targets_are_chosen_by_name(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=1)
    assert open_cohort(root, "change").target.name == "change"
    with pytest.raises(UsageError, match="no target named 'chance'; did you mean 'change'"):
        open_cohort(root, "chance")


def test_incomplete_patients_are_named_and_left_out(tmp_path: Path) -> None:
    write_lit(tmp_path)
    for name in LIT_NAMES[:2]:
        (tmp_path / "patient02" / f"{name}.nii.gz").unlink()
    (tmp_path / "notes").mkdir()
    cohort = open_cohort(tmp_path)
    assert [files.name for files in cohort.cases] == ["patient01", "patient03"]
    assert [(patient.name, patient.reason) for patient in cohort.incomplete] == [
        ("patient02", "no study1_FLAIR.nii.gz, study2_FLAIR.nii.gz")
    ]


def test_no_complete_patient_is_an_error_that_names_one(tmp_path: Path) -> None:
    write_lit(tmp_path, patients=1)
    (tmp_path / "patient01" / "brainmask.nii.gz").unlink()
    with pytest.raises(DataError, match=r"no complete case; .*patient01: no brainmask\.nii\.gz"):
        open_cohort(tmp_path)


def test_two_layouts_in_one_folder_ask_for_a_choice(tmp_path: Path) -> None:
    write_lit(tmp_path, patients=1)
    write_msseg2(tmp_path, patients=1)
    (tmp_path / "training" / "013").rename(tmp_path / "013")
    (tmp_path / "training").rmdir()
    with pytest.raises(UsageError, match=f"name one: lit:{tmp_path} or msseg2:{tmp_path}"):
        open_cohort(tmp_path)
    assert open_cohort(f"lit:{tmp_path}").layout.name == "lit"


def test_msseg2_reads_with_and_without_a_brain_mask_and_lesions(tmp_path: Path) -> None:
    write_msseg2(tmp_path)
    (tmp_path / "training" / "014" / "brain_mask.nii.gz").unlink()
    cohort = open_cohort(tmp_path)
    subjects = [load_subject(cohort, files) for files in cohort.cases]
    assert [reference_of(subject).sum() for subject in subjects] == [0, 8, 16]
    assert [subject.brain is None for subject in subjects] == [False, True, False]
    assert subjects[0].spacing_mm == pytest.approx((1, 1, 3))
    assert subjects[0].visits[0].dtype == np.float32


def test_the_default_target_of_lit_is_what_brightened(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=1)
    brightened = load_subject(cohort := open_cohort(root), cohort.cases[0])
    published = load_subject(cohort := open_cohort(root, "change"), cohort.cases[0])
    np.testing.assert_array_equal(brightened.reference, boxes((8, 9, 5)))
    np.testing.assert_array_equal(published.reference, boxes((8, 9, 5), (13, 13, 7)))


def test_a_change_is_judged_as_a_whole_and_corners_connect() -> None:
    change = boxes((2, 2, 2), (4, 4, 4))
    difference = np.zeros(SHAPE, dtype=np.float32)
    difference[2:4, 2:4, 2:4], difference[4:6, 4:6, 4:6] = 2, -1
    brighter, records = changes(change, difference)
    np.testing.assert_array_equal(brighter, change)
    assert [(record.voxels, record.mean_difference) for record in records] == [(16, 0.5)]
    assert not changes(change, 0 * difference)[0].any()
    nothing, records = changes(np.zeros(SHAPE, dtype=bool), difference)
    assert not nothing.any()
    assert records == ()


@pytest.mark.parametrize("spoil", [1, 2, 3], ids=["second visit", "brain mask", "reference"])
@pytest.mark.parametrize("kind", ["shape", "affine"])
def test_files_on_different_grids_are_refused_by_name(tmp_path: Path, spoil: int, kind: str) -> None:
    folder = write_lit(tmp_path, patients=1) / "patient01"
    array = np.random.default_rng(0).normal(300, 20, SHAPE).astype(np.int16) if spoil == 1 else head().astype(np.uint8)
    moved = AFFINE.copy()
    moved[2, 3] += 0.5
    path = folder / f"{LIT_NAMES[spoil]}.nii.gz"
    save(path, array[:, :-1] if kind == "shape" else array, AFFINE if kind == "shape" else moved)
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match="not on one grid") as caught:
        load_subject(cohort, cohort.cases[0])
    assert str(path) in str(caught.value)
    assert str(folder / "study1_FLAIR.nii.gz") in str(caught.value)


def test_one_image_as_both_visits_is_refused(tmp_path: Path) -> None:
    folder = write_lit(tmp_path, patients=1) / "patient01"
    (folder / "study2_FLAIR.nii.gz").write_bytes((folder / "study1_FLAIR.nii.gz").read_bytes())
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match=r"study1_FLAIR\.nii\.gz and .*study2_FLAIR\.nii\.gz hold the same image"):
        load_subject(cohort, cohort.cases[0])


def test_an_empty_brain_mask_is_refused_by_name(tmp_path: Path) -> None:
    path = save(write_lit(tmp_path, patients=1) / "patient01" / "brainmask.nii.gz", np.zeros(SHAPE, np.uint8))
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match=f"{path}: the brain mask is empty"):
        load_subject(cohort, cohort.cases[0])


def subject(**changed: Any) -> Subject:
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    fields: dict[str, Any] = {
        "name": "a", "patient": "a", "visits": (image[None], image[None] + 1), "brain": head(), "affine": AFFINE,
        "reference": boxes((8, 9, 5)).astype(np.uint8),
    }  # fmt: skip
    return Subject(**(fields | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"visits": ()}, "at least one visit"),
        (
            {"visits": (np.zeros((1, *SHAPE), np.float32), np.zeros((1, 2, 2, 2), np.float32))},
            "visit 2: expected contrasts and two or three axes",
        ),
        ({"visits": (np.zeros((4, 4), np.float32),)}, "visit 1: expected contrasts and two or three axes"),
        ({"visits": (np.zeros((1, *SHAPE)),)}, "expected float32 voxels, got float64"),
        ({"visits": (np.full((1, *SHAPE), np.nan, np.float32),)}, "visit 1: NaN"),
        ({"reference": np.zeros(SHAPE, bool)}, "reference: expected uint8 voxels, got bool"),
        ({"reference": np.ones(SHAPE, np.uint8)}, "every voxel as lesion"),
        ({"reference": 2 * boxes((8, 9, 5)).astype(np.uint8)}, "holds class 2, but there are only lesion"),
        ({"brain": np.zeros(SHAPE, bool)}, "brain mask is empty"),
        ({"brain": np.ones((2, 2, 2), bool)}, "brain: expected the shape of the visits"),
        ({"affine": np.zeros((4, 4))}, "invertible"),
        ({"affine": np.eye(3)}, "4 x 4"),
    ],
)
def test_a_subject_that_does_not_fit_together_can_not_be_made(changed: dict[str, object], message: str) -> None:
    assert subject().name == "a"
    with pytest.raises(DataError, match=message):
        subject(**changed)


@needs_lit
def test_real_lit_is_found_with_what_is_missing() -> None:
    cohort = open_cohort(REAL_LIT)
    assert [files.name for files in cohort.cases] == ["patient01", "patient03", "patient12"]
    assert len(cohort.incomplete) == 16
    assert all("study1_FLAIR" in patient.reason for patient in cohort.incomplete)


@needs_lit
@pytest.mark.parametrize(
    ("case", "counted", "target", "up", "down"),
    [(0, 2264, 1913, 1913, 66), (1, 2768, 2287, 2265, 412), (2, 2614, 698, 698, 1882)],
    ids=["01", "03", "12"],
)
def test_real_lit_has_the_known_change_in_both_directions(
    case: int, counted: int, target: int, up: int, down: int
) -> None:
    """The known figures leave out components with a mean difference of less than 0.2; the target asks for its sign."""
    cohort = open_cohort(REAL_LIT, "change")
    subject = load_subject(cohort, cohort.cases[case])
    assert reference_of(subject).sum() == counted
    brighter, records = changes(reference_of(subject) > 0, difference_of(subject))
    assert brighter.sum() == target
    assert sum(record.voxels for record in records if record.mean_difference > 0.2) == up
    assert sum(record.voxels for record in records if record.mean_difference < -0.2) == down
