"""Folds on disk: what is written is read back, other programs' files are understood, and leaks are caught."""

import json
import random
from pathlib import Path

import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.fold_files import load_folds, save_folds
from lesionloss.data.folds import Fold, make_folds

# Ten patients with two scans each.
CASES = {f"{patient:03d}_{scan}": f"{patient:03d}" for patient in range(10) for scan in "ab"}
PATIENTS = sorted(set(CASES.values()))
FOLDS = make_folds(dict.fromkeys(PATIENTS, 1.0), 5, 0)


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def by_cases(folds: tuple[Fold, ...]) -> list[dict[str, list[str]]]:
    """As nnU-Net writes folds: by cases."""
    return [
        {
            "train": [case for case, patient in CASES.items() if patient in fold.train],
            "val": [case for case, patient in CASES.items() if patient in fold.test],
        }
        for fold in folds
    ]


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    save_folds(FOLDS, tmp_path / "folds.json")
    splits = load_folds(tmp_path / "folds.json", CASES)
    assert splits.folds == FOLDS
    assert splits.warnings == ()


def test_nnunet_splits_name_cases_and_give_patients(tmp_path: Path) -> None:
    splits = load_folds(write(tmp_path / "splits_final.json", by_cases(FOLDS)), CASES)
    assert splits.folds == FOLDS
    assert splits.warnings == ()


@pytest.mark.parametrize(
    "lines",
    [
        "013\n026\n",
        "  013  \n\n026",
        "./data/MSSEG2/h5/data013_norm.h5\n./data/MSSEG2/h5/data026_norm.h5\n",
        "013_scan.nii.gz\r\nfolder\\026_scan.nii.gz",
    ],
)
def test_lists_of_validation_cases_give_one_fold(tmp_path: Path, lines: str) -> None:
    cases = {f"{patient}_scan": patient for patient in ("013", "026", "027", "091")}
    splits = load_folds(write(tmp_path / "val.list", lines), cases)
    assert splits.folds == (Fold(train=("027", "091"), test=("013", "026")),)
    assert splits.warnings == ()


def test_fifty_of_fifty_planted_leakages_are_caught(tmp_path: Path) -> None:
    for number in range(50):
        rng = random.Random(number)
        folds = by_cases(FOLDS)
        fold = rng.randrange(5)
        case = rng.choice(folds[fold]["val"])
        if number % 2:
            # one scan of a tested patient is trained on
            folds[fold]["train"].append(case)
            if number % 4 == 1:
                folds[fold]["val"].remove(case)
            wanted = f"fold {fold}: patient '{CASES[case]}' is trained on and tested"
        else:
            # a tested patient is tested again elsewhere
            other = (fold + 1 + rng.randrange(4)) % 5
            folds[other]["val"].append(case)
            folds[other]["train"] = [name for name in folds[other]["train"] if CASES[name] != CASES[case]]
            wanted = f"fold {max(fold, other)}: patient '{CASES[case]}' is tested in fold {min(fold, other)} already"
        rng.shuffle(folds[fold]["train"])
        path = write(tmp_path / "splits_final.json", folds)
        with pytest.raises(DataError) as caught:
            load_folds(path, CASES)
        assert str(caught.value).startswith(f"{path}, {wanted}"), number


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "s.json",
            [{"train": ["000"], "val": ["001", "0011"]}],
            r"fold 0, val: no patient or case .*'0011'; did you mean",
        ),
        ("s.json", [{"train": ["000", "000"], "val": ["001"]}], "fold 0, train: '000' stands there twice"),
        ("s.json", [{"train": [], "val": ["001"]}], "fold 0: nobody to train"),
        ("s.json", [{"train": ["001"], "val": []}], "fold 0: nobody to test"),
        ("s.json", [{"train": ["001"], "val": [2]}], "names must be texts, found 2"),
        ("s.json", [{"train": ["001"]}], "expected saved folds or nnU-Net's list"),
        ("s.json", [], "expected saved folds or nnU-Net's list"),
        ("s.json", {"folds": []}, "expected saved folds or nnU-Net's list"),
        ("s.json", {"format": "lesionloss folds", "version": 9, "folds": []}, "version 9 of folds"),
        ("s.json", "[{", "not JSON"),
        ("val.list", "\n \n", "no name in it"),
        ("val.list", "000\nnobody\n", "fold 0, validation: no patient or case is named 'nobody'"),
        ("val.list", "\n".join(PATIENTS), "fold 0: nobody to train"),
    ],
)
def test_files_without_sense_are_explained(tmp_path: Path, name: str, content: object, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        load_folds(path, CASES)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_folds(tmp_path / "none.json", CASES)
    (tmp_path / "val.list").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        load_folds(tmp_path / "val.list", CASES)


def test_patients_that_are_never_tested_or_left_out_are_warned_of(tmp_path: Path) -> None:
    folds = [{"train": ["002", "003"], "test": ["000"]}, {"train": ["000"], "test": ["001"]}]
    path = write(tmp_path / "f.json", {"format": "lesionloss folds", "version": 1, "folds": folds})
    assert load_folds(path, CASES).warnings == (
        f"{path}: no fold tests 002, 003, 004, 005, 006 and 3 more",
        f"{path}, fold 0: neither trained on nor tested: 001, 004, 005, 006, 007 and 2 more",
        f"{path}, fold 1: neither trained on nor tested: 002, 003, 004, 005, 006 and 3 more",
    )
