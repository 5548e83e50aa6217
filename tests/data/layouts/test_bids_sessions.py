"""BIDS: visits are paired in the order of time, by what says it, or the patient is left out with the reason."""

from itertools import pairwise
from pathlib import Path

import pytest

from lesionloss.core.errors import DataError
from lesionloss.data.checking.survey import survey
from lesionloss.data.cohort import Cohort, open_cohort
from miniature import labels, volume

DATES = ("2010-03-01", "2011-03-01T10:00:00", "2012-03-01")


def patient(root: Path, sessions: tuple[str, ...], table: tuple[str, ...] = ()) -> Cohort:
    """One patient with a mask from the second session on; `table` are the rows of sessions.tsv."""
    for index, session in enumerate(sessions):
        name = f"sub-1_ses-{session}"
        volume(root / "sub-1" / f"ses-{session}" / "anat" / f"{name}_FLAIR.nii.gz", index)
        if index:
            labels(root / "derivatives/m/sub-1" / f"ses-{session}" / "anat" / f"{name}_label-lesion_mask.nii.gz", 1)
    if table:
        (root / "sub-1" / "sub-1_sessions.tsv").write_text("\n".join(["session_id\tacq_time", *table]) + "\n")
    return open_cohort(f"bids:{root}")


def dated(sessions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"ses-{session}\t{date}" for session, date in zip(sessions, DATES, strict=False))


def pairs(cohort: Cohort) -> list[list[str]]:
    return [[visit[0].name.split("_")[1][4:] for visit in files.visits] for files in cohort.cases]


@pytest.mark.parametrize(
    "sessions",
    [("1", "2", "10"), ("M0", "M6", "M12"), ("01", "02", "11"), ("20100301", "20110301", "20120301"), ("y1m6", "y2m0")],
)
def test_numbers_in_names_are_ordered_as_numbers(tmp_path: Path, sessions: tuple[str, ...]) -> None:
    cohort = patient(tmp_path, sessions)
    assert pairs(cohort) == [list(pair) for pair in pairwise(sessions)]
    assert not cohort.incomplete
    assert survey(cohort).pairings[0].endswith("_FLAIR.nii.gz (by number in the name)")


@pytest.mark.parametrize(
    "sessions", [("pre", "post"), ("baseline", "2YearFollowUp", "4YearFollowUp"), ("3", "2", "1"), ("z", "1", "x")]
)
def test_acquisition_times_come_first(tmp_path: Path, sessions: tuple[str, ...]) -> None:
    cohort = patient(tmp_path, sessions, dated(sessions))
    assert pairs(cohort) == [list(pair) for pair in pairwise(sessions)]
    assert survey(cohort).pairings[0].endswith("(by acq_time in sessions.tsv)")


@pytest.mark.parametrize(
    ("sessions", "table", "reason"),
    [
        (
            ("pre", "post"),
            (),
            "the order in time of ses-post, ses-pre can't be told from their names; give",
        ),
        (("pre", "post"), ("ses-pre\t2010-01-01", "ses-post\tn/a"), "can't be told"),
        (("baseline", "2Year", "4Year"), (), "can't be told"),
        (("M6", "Y1"), (), "can't be told"),
        (("1", "01"), (), "two of the sessions ses-01, ses-1 have one number in the name"),
        (("a", "b"), ("ses-a\t2010-01-01", "ses-b\t2010-01-01"), "have one acq_time in sessions.tsv"),
        (("a", "b"), ("ses-a\t2010-01-01", "ses-b\tlater"), "Invalid isoformat string: 'later'; write dates as"),
    ],
)
def test_no_order_is_guessed(tmp_path: Path, sessions: tuple[str, ...], table: tuple[str, ...], reason: str) -> None:
    with pytest.raises(DataError, match="no complete case") as caught:
        patient(tmp_path, sessions, table)
    assert "sub-1: " in str(caught.value)
    assert reason in str(caught.value)
    volume(tmp_path / "sub-2" / "anat" / "sub-2_FLAIR.nii.gz", 1)
    labels(tmp_path / "sub-2" / "anat" / "sub-2_label-lesion_mask.nii.gz", 1)
    problems = survey(open_cohort(f"bids:{tmp_path}")).problems
    assert any("sub-1 is left out" in line and reason in line for line in problems)


def test_a_mask_of_a_session_without_an_earlier_one_is_listed(tmp_path: Path) -> None:
    """Only if its image is the first visit of another case, nothing is lost."""
    name = "sub-1_ses-1"
    labels(tmp_path / "sub-1/ses-1/anat" / f"{name}_label-lesion_mask.nii.gz", 1)
    assert not patient(tmp_path, ("1", "2", "3")).incomplete
    volume(tmp_path / "sub-1/ses-1/anat" / f"{name}_space-T1w_FLAIR.nii.gz", 1)
    (tmp_path / "sub-1/ses-1/anat" / f"{name}_label-lesion_mask.nii.gz").rename(
        tmp_path / "sub-1/ses-1/anat" / f"{name}_space-T1w_label-lesion_mask.nii.gz"
    )
    (left_out,) = open_cohort(f"bids:{tmp_path}").incomplete
    assert left_out.name == name


def test_masks_named_seg_are_read(tmp_path: Path) -> None:
    for name, mask in (("sub-1", "FLAIR_label-lesion_seg"), ("sub-2", "label-lesion_seg")):
        volume(tmp_path / name / "anat" / f"{name}_FLAIR.nii.gz", 1)
        labels(tmp_path / "derivatives/labels" / name / "anat" / f"{name}_{mask}.nii.gz", 1)
    volume(tmp_path / "sub-3" / "anat" / "sub-3_FLAIR.nii.gz", 1)
    labels(tmp_path / "derivatives/labels/sub-3/anat/sub-3_T2w_label-lesion_seg.nii.gz", 1)
    cohort = open_cohort(tmp_path)
    assert [files.name for files in cohort.cases] == ["sub-1", "sub-2"]
    assert [left_out.name for left_out in cohort.incomplete] == ["sub-3"]
