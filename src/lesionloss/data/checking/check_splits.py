"""Lists of training and test cases, checked for patients and images on both sides."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.checking.duplicates import plain_name

SIDES = ("train", "val", "test")
WANTED = 'expected a list of folds such as [{"train": ["a"], "val": ["b"]}], or {"folds": [...]}'


@dataclass(frozen=True)
class SplitFold:
    """One fold of a file: its number from 0, and the names on each side."""

    number: int
    sides: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ListedCase:
    """What a split may name: a case, its patient, and the digests of its files."""

    case: str
    patient: str
    contents: tuple[str, ...]


def read_splits(path: Path) -> tuple[SplitFold, ...]:
    """Read folds from JSON: nnU-Net's `splits_final.json`, or a file of folds with `train`, `val` or `test`.

    Raises:
        UsageError: There is no such file.
        DataError: The file holds anything else.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the JSON file of the splits")
    try:
        stored = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); {WANTED}") from error
    folds = stored.get("folds") if isinstance(stored, dict) else stored
    if not isinstance(folds, list) or not folds:
        raise DataError(f"{path}: {WANTED}")
    return tuple(_split(path, number, fold) for number, fold in enumerate(folds))


def _split(path: Path, number: int, fold: Any) -> SplitFold:
    if not isinstance(fold, dict):
        raise DataError(f"{path}: fold {number} is {type(fold).__name__}; {WANTED}")
    sides = {side: tuple(fold[side]) for side in SIDES if isinstance(fold.get(side), list)}
    if "train" not in sides or len(sides) < 2:
        raise DataError(f"{path}: fold {number} has no lists train and val (or test); {WANTED}")
    for side, names in sides.items():
        for name in names:
            if not isinstance(name, str):
                raise DataError(f"{path}: fold {number}, {side}: names are texts, got {name!r}; put it in quotes")
    return SplitFold(number, sides)


def split_problems(
    path: Path, splits: Sequence[SplitFold], listed: Sequence[ListedCase]
) -> tuple[list[str], list[str]]:
    """Find what is wrong with the folds of a file; a name may be that of a case or of a patient.

    Args:
        path: The file, for the messages.
        splits: Its folds.
        listed: The known cases.

    Returns:
        Problems (unknown names, and patients or images on two sides of a fold), and warnings (patients who are never
        tested).
    """
    problems: list[str] = []
    tested: set[str] = set()
    for split in splits:
        found: dict[str, list[ListedCase]] = {}
        for side, names in split.sides.items():
            where = f"{path}: fold {split.number}, {side}"
            twice = sorted({name for name in names if names.count(name) > 1})
            problems += [f"{where}: {name} is listed twice; remove one" for name in twice]
            found[side] = []
            for name in names:
                cases = _cases(name, listed)
                if not cases:
                    known = sorted({case.case for case in listed} | {case.patient for case in listed})
                    hint = nearest(name, known[:20]) if known else "no case could be read"
                    problems.append(f"{where}: no case or patient is named {name!r}; {hint}")
                found[side] += cases
        tested |= {case.patient for side in found if side != "train" for case in found[side]}
        for one, other in combinations(found, 2):
            problems += _on_both(f"{path}: fold {split.number}", one, found[one], other, found[other])
    never = sorted({case.patient for case in listed} - tested)
    shown = ", ".join(never[:8]) + (", ..." if len(never) > 8 else "")
    return problems, [f"{path}: never in val or test: {shown}; add them if they should count"] if never else []


def _cases(name: str, listed: Sequence[ListedCase]) -> list[ListedCase]:
    exact = [case for case in listed if case.case == name]
    return exact or [case for case in listed if case.patient == name]


def _on_both(where: str, one: str, here: list[ListedCase], other: str, there: list[ListedCase]) -> Iterator[str]:
    patients = {plain_name(case.patient): case.patient for case in here}
    named: set[str] = set()
    for case in there:
        if plain_name(case.patient) in patients and case.patient not in named:
            named.add(case.patient)
            yield (
                f"{where}: patient {case.patient} stands in {one} and in {other}; "
                "move all cases of the patient to one side"
            )
    owners = {content: case for case in here for content in case.contents}
    for case in there:
        twin = next((owners[content] for content in case.contents if content in owners), None)
        if twin is not None and plain_name(twin.patient) != plain_name(case.patient):
            yield (
                f"{where}: {twin.case} in {one} and {case.case} in {other} hold the same image; "
                "move both to one side or remove one"
            )
