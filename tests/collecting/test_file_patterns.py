"""Patterns of file names: fields are named, checked and read in one way only."""

from pathlib import Path

import pytest

from lesionloss.collecting.file_patterns import FilePattern, files_by_case
from lesionloss.collecting.patient_names import PatientNames, read_patients
from lesionloss.core.errors import DataError, UsageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def fields(folder: Path, pattern: str) -> list[dict[str, str]]:
    return [match.fields for match in FilePattern(f"{folder}/{pattern}", "--predictions").files()]


def test_fields_are_read_from_folders_and_names(tmp_path: Path) -> None:
    touch(
        tmp_path, "r/dice/fold_0/seed3/p1.nii.gz", "r/dice/fold_0/seed3/summary.json", "r/dice/.hidden/seed3/p2.nii.gz"
    )
    found = fields(tmp_path, "r/{loss}/fold_{fold}/seed{seed}/{case}.nii.gz")
    assert found == [{"loss": "dice", "fold": "0", "seed": "3", "case": "p1"}]


def test_a_field_that_stands_twice_is_the_same(tmp_path: Path) -> None:
    touch(tmp_path, "dice/p1/p1_mask.nii.gz", "dice/p2/p1_mask.nii.gz")
    assert [each["case"] for each in fields(tmp_path, "{loss}/{case}/{case}_mask.nii.gz")] == ["p1"]


def test_a_star_stands_for_anything_in_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "nnUNetTrainerA__plans__3d/fold_1/p1.nii.gz")
    assert fields(tmp_path, "nnUNetTrainer{loss}__*/fold_{fold}/{case}.nii.gz") == [
        {"loss": "A", "fold": "1", "case": "p1"}
    ]


def test_dots_of_a_pattern_are_dots(tmp_path: Path) -> None:
    touch(tmp_path, "p1xniixgz", "p2.nii.gz")
    assert [each["case"] for each in fields(tmp_path, "{case}.nii.gz")] == ["p2"]


def test_a_name_that_can_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "dice_ce_p1.nii.gz")
    with pytest.raises(DataError, match=r"dice_ce_p1.*two ways .*loss dice.*put a folder between"):
        fields(tmp_path, "{loss}_{case}.nii.gz")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{lose}/{case}.nii.gz", r"no field is named \{lose\}.*loss"),
        ("{loss}/x.nii.gz", r"no field \{case\}"),
        ("{loss}/{method}/{case}.nii.gz", "one field; write one"),
    ],
)
def test_wrong_fields_are_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FilePattern(f"{tmp_path}/{pattern}", "--predictions")


def test_a_pattern_that_fits_nothing_names_a_file_there(tmp_path: Path) -> None:
    touch(tmp_path, "dice/p1.nii")
    with pytest.raises(UsageError, match=r"no file below .* fits; the first file there is dice/p1.nii"):
        fields(tmp_path, "{loss}/{case}.nii.gz")
    with pytest.raises(UsageError, match=r"no folder .*/nowhere"):
        fields(tmp_path, "nowhere/{case}.nii.gz")


def test_a_folder_gives_one_file_for_each_case(tmp_path: Path) -> None:
    touch(tmp_path, "p1_0000.nii.gz", "p1_0001.nii.gz", "p2.nii", "notes.txt")
    assert {case: path.name for case, path in files_by_case(str(tmp_path), "--images").items()} == {
        "p1": "p1_0000.nii.gz",
        "p2": "p2.nii",
    }
    touch(tmp_path, "p2.nii.gz")
    with pytest.raises(DataError, match="both of case p2"):
        files_by_case(str(tmp_path), "--images")


def test_patients_come_from_a_table_or_a_bids_name(tmp_path: Path) -> None:
    assert PatientNames().of("sub-01_ses-2_lesion") == "sub-01"
    assert PatientNames().of("case7") == "case7"
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\na1,A\na2,A\n")
    known = read_patients(table)
    assert (known.of("a1"), known.of("a2")) == ("A", "A")
    with pytest.raises(DataError, match="no line for b1; add case,patient"):
        known.require(["a1", "b1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [("id,who\n1,2\n", "columns id, who; expected case and patient"), ("case,patient\na,A\na,B\n", "line 3.*'a', 'B'")],
)
def test_a_wrong_table_of_patients_is_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "patients.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message):
        read_patients(table)
