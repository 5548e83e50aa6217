"""Whole cohorts prepared on disk: a file per case and an index."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lesionloss.core.errors import DataError
from lesionloss.core.files import write_text
from lesionloss.data.cohort import Cohort
from lesionloss.data.cohort_index import INDEX, CohortIndex
from lesionloss.data.dicom_headers import is_series
from lesionloss.data.layouts.records import CaseFiles
from lesionloss.data.preparation.prepare_case import VERSION, PreparationTask, TaskResult, file_digest, run_tasks
from lesionloss.data.preparation.recipe import PreparationRecipe

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PreparationOutcome:
    """The index, how many cases were prepared now, and how many were there unchanged."""

    index: CohortIndex
    prepared: int
    unchanged: int


def prepare_cohort(
    cohort: Cohort,
    folder: Path,
    recipe: PreparationRecipe | None = None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    failed: Callable[[str], None] | None = None,
) -> PreparationOutcome:
    """Prepare all cases into `folder/CASE.npz`, with `CASE.json` (how it was prepared) and `folder/index.json`.

    A case that was prepared from the same files with the same settings is not prepared again. Writes are atomic and the
    index is written last, so the next run continues one that was killed. An old index is removed as soon as one of its
    cases is replaced.

    Args:
        cohort: The cases, as `open_cohort` lists them.
        folder: Where the prepared cases go.
        recipe: The steps and their settings; None takes the default ones (orient, brain, crop, normalise, subtract).
        jobs: How many processes work at once.
        progress: Called with (name, done, total) after each case.
        failed: Called with one line for each case that can't be used.

    Returns:
        The index and the counts of cases.

    Raises:
        DataError: A case can't be used, or one image serves two patients. The message names the first problem and
            counts the others; all cases were tried, and no index is written.
    """
    recipe = recipe or PreparationRecipe()
    hashes = {files.name: _hashes(cohort, files) for files in cohort.cases}
    tasks = [
        PreparationTask(cohort.layout, cohort.target, cohort.root, files, hashes[files.name], folder, recipe)
        for files in cohort.cases
    ]
    failures = shared_images(cohort.cases)
    results: list[TaskResult | str] = []
    with contextlib.closing(run_tasks(tasks, jobs)) as found:
        for done, result in enumerate(found, start=1):
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
    there = [result for result in results if isinstance(result, TaskResult)]
    entries = tuple(result.entry for result in there)
    index = CohortIndex(cohort.layout.name, cohort.target.name, VERSION, recipe.settings(), entries, cohort.incomplete)
    write_text(folder / INDEX, json.dumps(asdict(index), indent=2) + "\n")
    prepared = sum(result.prepared_now for result in there)
    return PreparationOutcome(index, prepared, len(there) - prepared)


def _hashes(cohort: Cohort, files: CaseFiles) -> dict[str, str]:
    """Digests of the input files, by their place under the cohort's folder, or by the full path of those elsewhere.

    Folders of DICOM series may be named after a patient or a date, and are numbered instead.
    """
    digests: dict[str, str] = {}
    for number, path in enumerate(files.all(), start=1):
        place = path.relative_to(cohort.root) if path.is_relative_to(cohort.root) else path
        digests[f"DICOM series {number}" if is_series(path) else place.as_posix()] = file_digest(path)
    return digests


def shared_images(cases: tuple[CaseFiles, ...]) -> list[str]:
    """Find files that are a visit of two patients; one line for each."""
    owners: dict[str, tuple[str, Path]] = {}
    lines: list[str] = []
    for files in cases:
        for path in (path for visit in files.visits for path in visit if files.part is None):
            patient, first = owners.setdefault(file_digest(path), (files.patient, path))
            if patient != files.patient:
                lines.append(
                    f"{path} is the same file as {first}, of another patient: "
                    "it would stand in training and in test; remove one of them"
                )
    return lines
