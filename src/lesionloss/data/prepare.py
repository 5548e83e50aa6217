"""Whole cohorts prepared on disk: a file per case and an index."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesionloss.data.cohort import Cohort, Files, Incomplete, load_subject
from lesionloss.data.normalise import Preparation, prepare
from lesionloss.data.prepared import PreparedCase, load_prepared, load_record, save_prepared, to_original_grid
from lesionloss.errors import DataError
from lesionloss.files import sha256_of, write_text

__all__ = [
    "CaseEntry",
    "Index",
    "Preparation",
    "PreparedCase",
    "load_index",
    "load_prepared",
    "prepare",
    "prepare_cohort",
    "save_prepared",
    "shared_images",
    "to_original_grid",
]

# Raised whenever the same subject and settings would give other numbers; cases prepared before are then made again.
VERSION = 1
INDEX = "index.json"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CaseEntry:
    """What the index of a prepared cohort says of a case.

    `brain` is "file" or "threshold" (made from the images); `sha256` holds the digests of the input files by name,
    `content_sha256` that of the prepared arrays; `reference_outside_brain` counts voxels.
    """

    name: str
    patient: str
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    reference_voxels: int
    reference_mm3: float
    reference_outside_brain: int
    brain: str
    sha256: Mapping[str, str]
    content_sha256: str


@dataclass(frozen=True)
class Index:
    """What a folder of prepared cases holds, and which patients were left out."""

    layout: str
    target: str
    version: int
    preparation: Preparation
    cases: tuple[CaseEntry, ...]
    incomplete: tuple[Incomplete, ...]

    def patient_loads(self) -> dict[str, float]:
        """Lesion volume in mm3 of every patient, over all its cases: what `make_folds` stratifies by."""
        loads: dict[str, float] = {}
        for case in self.cases:
            loads[case.patient] = loads.get(case.patient, 0.0) + case.reference_mm3
        return loads


def prepare_cohort(
    cohort: Cohort, folder: Path, settings: Preparation | None = None, progress: Progress | None = None
) -> Index:
    """Prepare all cases into `folder/CASE.npz` and `folder/index.json`; gives the index.

    A case whose input files and settings are those of the prepared one is not done again. Each file is written whole
    and the index last, so a run that was killed is continued by the next. `progress(name, done, total)` is called
    after each case. Raises DataError naming the first case that can't be used and how many there are, after all have
    been tried, or if one image serves two patients; then no index is written. An index of before is removed as soon as
    a case of it is replaced.
    """
    settings = settings or Preparation()
    hashes = {files.name: {path.name: sha256_of(path) for path in files.all()} for files in cohort.cases}
    entries: list[CaseEntry] = []
    failures = shared_images(cohort.cases)
    for done, files in enumerate(cohort.cases, start=1):
        try:
            entries.append(_prepare_case(cohort, files, hashes[files.name], folder / f"{files.name}.npz", settings))
        except DataError as error:
            failures.append(str(error))
        if progress is not None:
            progress(files.name, done, len(cohort.cases))
    if failures:
        others = f" (and {len(failures) - 1} more problems)" if len(failures) > 1 else ""
        raise DataError(f"{failures[0]}{others}")
    index = Index(cohort.layout.name, cohort.target.name, VERSION, settings, tuple(entries), cohort.incomplete)
    write_text(folder / INDEX, json.dumps(asdict(index), indent=2) + "\n")
    return index


def shared_images(cases: tuple[Files, ...]) -> list[str]:
    """One line for every visit whose very file is also a visit of another patient."""
    owners: dict[str, tuple[str, Path]] = {}
    lines: list[str] = []
    for files in cases:
        for path in (path for visit in files.visits for path in visit if files.part is None):
            patient, first = owners.setdefault(sha256_of(path), (files.patient, path))
            if patient != files.patient:
                lines.append(
                    f"{path} is the same file as {first}, of another patient: "
                    "it would stand in training and in test; remove one of them"
                )
    return lines


def _prepare_case(
    cohort: Cohort, files: Files, hashes: Mapping[str, str], path: Path, settings: Preparation
) -> CaseEntry:
    made_from = {
        "version": VERSION,
        "layout": cohort.layout.name,
        "target": cohort.target.name,
        "preparation": asdict(settings),
        "patient": files.patient,
        "sha256": dict(hashes),
    }
    entry = _made_before(path, made_from)
    if entry is None:
        case = prepare(load_subject(cohort, files), settings)
        entry = _entry(case, files, hashes)
        # An index of before must not outlive the cases it describes.
        (path.parent / INDEX).unlink(missing_ok=True)
        save_prepared(case, path, {"made_from": made_from, "entry": asdict(entry)})
    return entry


def _made_before(path: Path, made_from: dict[str, Any]) -> CaseEntry | None:
    if not path.exists():
        return None
    try:
        record = load_record(path)
    except DataError:
        return None
    return _entry_from(record["entry"]) if record.get("made_from") == made_from else None


def _entry(case: PreparedCase, files: Files, hashes: Mapping[str, str]) -> CaseEntry:
    voxels = int(case.lesion.sum())
    return CaseEntry(
        name=case.name,
        patient=case.patient,
        spacing_mm=case.spacing_mm,
        shape=case.shape,
        reference_voxels=voxels,
        reference_mm3=voxels * math.prod(case.spacing_mm),
        reference_outside_brain=case.reference_outside_brain,
        brain="threshold" if files.brain is None else "file",
        sha256=dict(hashes),
        content_sha256=case.content_sha256,
    )


def _entry_from(stored: Mapping[str, Any]) -> CaseEntry:
    return CaseEntry(**{**stored, "spacing_mm": tuple(stored["spacing_mm"]), "shape": tuple(stored["shape"])})


def load_index(folder: Path) -> Index:
    """The index of a prepared cohort. Raises DataError if it is missing or not one."""
    path = folder / INDEX
    if not path.is_file():
        raise DataError(f"{path}: no such file; prepare the cohort first")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Index(
            layout=stored["layout"],
            target=stored["target"],
            version=stored["version"],
            preparation=Preparation(**stored["preparation"]),
            cases=tuple(_entry_from(case) for case in stored["cases"]),
            incomplete=tuple(Incomplete(**patient) for patient in stored["incomplete"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the index of a prepared cohort ({error!r}); prepare the cohort again") from error
