"""Folds on disk: ours, nnU-Net's `splits_final.json`, and lists of validation cases such as CoactSeg's `val.list`.

Such files name patients or cases; both are understood, and the folds hold patients. Anything that would let a patient
be trained on and tested at once is an error that names file, fold and patient.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import write_text
from lesionloss.data.folds import Fold

FORMAT = "lesionloss folds"
VERSION = 1
SIDES = ("train", "test")
# CoactSeg writes data013_norm.h5 for patient 013.
COACTSEG = re.compile(r"^data(?P<patient>.+)_norm$")


@dataclass(frozen=True)
class LoadedFolds:
    """Folds read from a file, and warnings about them, one line each."""

    folds: tuple[Fold, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Side:
    """One side of one fold of a file, as it is named there."""

    file: Path
    fold: int
    name: str

    def __str__(self) -> str:
        """Name file, fold and side, as error messages begin."""
        return f"{self.file}, fold {self.fold}, {self.name}"


def save_folds(folds: Sequence[Fold], path: Path) -> None:
    """Write folds as JSON that `load_folds` reads back, atomically."""
    record = {
        "format": FORMAT,
        "version": VERSION,
        "folds": [{"train": list(fold.train), "test": list(fold.test)} for fold in folds],
    }
    write_text(path, json.dumps(record, indent=2) + "\n")


def load_folds(path: Path, cases: Mapping[str, str]) -> LoadedFolds:
    """Read folds of the known patients.

    A JSON file holds our folds or nnU-Net's list of {"train", "val"}. Any other file is a list of validation cases or
    patients, one per line; all other patients are trained on. Folds are numbered from 0.

    Args:
        path: The file.
        cases: Patient of each case.

    Returns:
        The folds; warnings name patients that no fold tests, and patients that a fold neither trains on nor tests.

    Raises:
        UsageError: There is no such file.
        DataError: The file is neither, a name is unknown, a patient is on both sides of a fold or tested in two folds,
            or a side is empty; names file, fold and patient.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a JSON file of folds or a text file of validation cases")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a text file; give a JSON file of folds or a list of names") from error
    patients = tuple(sorted(set(cases.values())))
    folds = _from_json(path, text, cases) if path.suffix == ".json" else _from_list(path, text, cases, patients)
    for index, fold in enumerate(folds):
        _check_fold(path, index, fold)
    _check_tested_once(path, folds)
    return LoadedFolds(folds, _warnings(path, folds, patients))


def _from_json(path: Path, text: str, cases: Mapping[str, str]) -> tuple[Fold, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); save the folds again") from error
    if isinstance(content, dict) and content.get("format") == FORMAT:
        if content.get("version") != VERSION:
            raise DataError(
                f"{path}: version {content.get('version')!r} of folds; this program reads version {VERSION}"
            )
        content, sides = content.get("folds"), SIDES
    else:
        sides = ("train", "val")
    entries = content if isinstance(content, list) and all(isinstance(entry, dict) for entry in content) else []
    if not entries or any(not isinstance(entry.get(side), list) for entry in entries for side in sides):
        raise DataError(
            f'{path}: expected saved folds or nnU-Net\'s list of {{"train": [...], "val": [...]}}, found something else'
        )
    return tuple(
        Fold(*(_patients(_Side(path, index, side), entry[side], cases) for side in sides))
        for index, entry in enumerate(entries)
    )


def _from_list(path: Path, text: str, cases: Mapping[str, str], patients: tuple[str, ...]) -> tuple[Fold]:
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise DataError(f"{path}: no name in it; expected the validation cases, one per line")
    test = _patients(_Side(path, 0, "validation"), names, cases)
    return (Fold(tuple(patient for patient in patients if patient not in test), test),)


def _patients(side: _Side, names: Sequence[Any], cases: Mapping[str, str]) -> tuple[str, ...]:
    """Find the patients behind the names of a side, each once, sorted."""
    if any(not isinstance(name, str) for name in names):
        raise DataError(f"{side}: names must be texts, found {next(n for n in names if not isinstance(n, str))!r}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{side}: {twice[0]!r} stands there twice")
    return tuple(sorted({_patient(side, name, cases) for name in names}))


def _patient(side: _Side, name: str, cases: Mapping[str, str]) -> str:
    """Find the patient behind a name: of a patient, of a case, or of a file that is called after one of them."""
    known = set(cases.values())
    stem = re.split(r"[/\\]", name)[-1].split(".")[0]
    inner = COACTSEG.match(stem)
    for candidate in (name, stem, inner["patient"] if inner else stem):
        if candidate in known:
            return candidate
        if candidate in cases:
            return cases[candidate]
    raise DataError(f"{side}: no patient or case is named {name!r}; {nearest(stem, sorted(known | set(cases)))}")


def _check_fold(path: Path, index: int, fold: Fold) -> None:
    for side, patients in zip(SIDES, (fold.train, fold.test), strict=True):
        if not patients:
            raise DataError(f"{path}, fold {index}: nobody to {side}; every fold needs patients on both sides")
    both = sorted(set(fold.train) & set(fold.test))
    if both:
        raise DataError(
            f"{path}, fold {index}: patient {both[0]!r} is trained on and tested "
            f"({len(both)} in all); put all cases of a patient on one side"
        )


def _check_tested_once(path: Path, folds: Sequence[Fold]) -> None:
    first: dict[str, int] = {}
    for index, fold in enumerate(folds):
        for patient in fold.test:
            if patient in first:
                raise DataError(
                    f"{path}, fold {index}: patient {patient!r} is tested in fold {first[patient]} already; "
                    "a patient is tested once"
                )
            first[patient] = index


def _warnings(path: Path, folds: Sequence[Fold], patients: tuple[str, ...]) -> tuple[str, ...]:
    tested = {patient for fold in folds for patient in fold.test}
    never = [patient for patient in patients if patient not in tested]
    found = []
    if never and len(folds) > 1:
        found.append(f"{path}: no fold tests {_few(never)}")
    for index, fold in enumerate(folds):
        absent = [patient for patient in patients if patient not in {*fold.train, *fold.test}]
        if absent:
            found.append(f"{path}, fold {index}: neither trained on nor tested: {_few(absent)}")
    return tuple(found)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
