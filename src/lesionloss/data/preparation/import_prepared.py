"""A cohort that `lesionloss prepare` wrote, copied into a run as it is."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import atomic_file, sha256_of, write_text
from lesionloss.data.cohort_index import INDEX, CohortIndex, load_index


def is_prepared(source: str) -> bool:
    """Whether a folder holds prepared cases."""
    return bool(source) and (Path(source).expanduser() / INDEX).is_file()


def import_prepared(source: str, place: Path, patients: Sequence[str] = (), target: str = "") -> CohortIndex:
    """Copy the prepared cases of a folder into a run, and write their index.

    A case that is there already is not copied again.

    Args:
        source: The folder that `lesionloss prepare` wrote.
        place: Where the cases go.
        patients: Names of the patients to copy; empty copies all.
        target: The target that the cases must have been prepared for; empty accepts any.

    Returns:
        The index of the copied cases.

    Raises:
        UsageError: The folder holds no such patient or another target.
        DataError: The index can't be read, or a case is missing.
    """
    folder = Path(source).expanduser()
    index = load_index(folder)
    if target and target != index.target:
        raise UsageError(
            f"{folder} was prepared for {index.target}, not {target}; prepare it again, or leave out target"
        )
    known = [entry.patient for entry in index.cases]
    for patient in patients:
        if patient not in known:
            raise UsageError(f"data.patients: no patient {patient!r} in {folder}; {nearest(patient, known)}")
    kept = tuple(entry for entry in index.cases if not patients or entry.patient in patients)
    for entry in kept:
        for name in (f"{entry.name}.npz", f"{entry.name}.json"):
            _copy(folder / name, place / name)
    found = replace(index, cases=kept)
    write_text(place / INDEX, json.dumps(asdict(found), indent=2) + "\n")
    return found


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise DataError(f"{source} is gone, but {INDEX} beside it names it; prepare the cohort again")
    if target.is_file() and sha256_of(target) == sha256_of(source):
        return
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
