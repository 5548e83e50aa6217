"""Whole cohorts prepared on disk: a file per case and an index."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError
from lesionloss.core.files import write_text
from lesionloss.data.cohort import Cohort, Files, Incomplete
from lesionloss.data.normalise import Preparation, prepare
from lesionloss.data.preparation_recipe import Crop, Recipe
from lesionloss.data.prepare_case import INDEX, VERSION, CaseEntry, Made, Task, digest, entry_from, run_tasks
from lesionloss.data.prepared import PreparedCase, load_prepared, save_prepared, to_original_grid

__all__ = [
    "CaseEntry",
    "Index",
    "Outcome",
    "Preparation",
    "PreparedCase",
    "load_index",
    "load_prepared",
    "prepare",
    "prepare_all",
    "prepare_cohort",
    "save_prepared",
    "shared_images",
    "to_original_grid",
]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Index:
    """What a folder of prepared cases holds, how they were made, and which patients were left out."""

    layout: str
    target: str
    version: int
    preparation: Mapping[str, Any]
    cases: tuple[CaseEntry, ...]
    incomplete: tuple[Incomplete, ...]

    def patient_loads(self) -> dict[str, float]:
        """Lesion volume in mm3 of every patient, over all its cases: what `make_folds` stratifies by."""
        loads: dict[str, float] = {}
        for case in self.cases:
            loads[case.patient] = loads.get(case.patient, 0.0) + case.reference_mm3
        return loads


@dataclass(frozen=True)
class Outcome:
    """The index, and how many cases were made and how many were there unchanged."""

    index: Index
    made: int
    kept: int


def prepare_cohort(
    cohort: Cohort, folder: Path, settings: Preparation | None = None, progress: Progress | None = None
) -> Index:
    """Crop, normalise and subtract: `prepare_all` with its default steps, on one core."""
    recipe = Recipe(crop=Crop(margin_voxels=(settings or Preparation()).margin_voxels))
    return prepare_all(cohort, folder, recipe, progress=progress).index


def prepare_all(
    cohort: Cohort,
    folder: Path,
    recipe: Recipe,
    jobs: int = 1,
    progress: Progress | None = None,
    failed: Callable[[str], None] | None = None,
) -> Outcome:
    """Prepare all cases into `folder/CASE.npz` and CASE.json, how each was made, and `folder/index.json`.

    A case whose input files and settings are those of the prepared one is not done again. Each file is written whole
    and the index last, so a run that was killed is continued by the next. `jobs` processes work at once.
    `progress(name, done, total)` is called after each case, `failed` with the line of each that can't be used.
    Raises DataError naming the first such case and how many there are, after all have been tried, or if one image
    serves two patients; then no index is written. An index of before is removed as soon as a case of it is replaced.
    """
    hashes = {files.name: _hashes(cohort, files) for files in cohort.cases}
    tasks = [
        Task(cohort.layout, cohort.target, cohort.root, files, hashes[files.name], folder, recipe)
        for files in cohort.cases
    ]
    failures = shared_images(cohort.cases)
    results: list[Made | str] = []
    for done, result in enumerate(run_tasks(tasks, jobs), start=1):
        results.append(result)
        if progress is not None:
            progress(cohort.cases[done - 1].name, done, len(tasks))
    failures += [result for result in results if isinstance(result, str)]
    if failures:
        if failed is not None:
            for line in failures:
                failed(line)
        others = f" (and {len(failures) - 1} more problems)" if len(failures) > 1 else ""
        raise DataError(f"{failures[0]}{others}")
    made = [result for result in results if isinstance(result, Made)]
    entries = tuple(result.entry for result in made)
    index = Index(cohort.layout.name, cohort.target.name, VERSION, recipe.settings(), entries, cohort.incomplete)
    write_text(folder / INDEX, json.dumps(asdict(index), indent=2) + "\n")
    fresh = sum(result.fresh for result in made)
    return Outcome(index, fresh, len(made) - fresh)


def _hashes(cohort: Cohort, files: Files) -> dict[str, str]:
    """Digests of the input files, by their place under the cohort's folder, or by the full path of those elsewhere."""
    places = {path: path.relative_to(cohort.root) if path.is_relative_to(cohort.root) else path for path in files.all()}
    return {place.as_posix(): digest(path) for path, place in places.items()}


def shared_images(cases: tuple[Files, ...]) -> list[str]:
    """One line for every visit whose very file is also a visit of another patient."""
    owners: dict[str, tuple[str, Path]] = {}
    lines: list[str] = []
    for files in cases:
        for path in (path for visit in files.visits for path in visit if files.part is None):
            patient, first = owners.setdefault(digest(path), (files.patient, path))
            if patient != files.patient:
                lines.append(
                    f"{path} is the same file as {first}, of another patient: "
                    "it would stand in training and in test; remove one of them"
                )
    return lines


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
            preparation=dict(stored["preparation"]),
            cases=tuple(entry_from(case) for case in stored["cases"]),
            incomplete=tuple(Incomplete(**patient) for patient in stored["incomplete"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the index of a prepared cohort ({error!r}); prepare the cohort again") from error
