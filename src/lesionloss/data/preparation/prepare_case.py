"""One case prepared and written, in this process or in several at once."""

import json
import math
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError
from lesionloss.core.files import sha256_of, write_text
from lesionloss.core.processes import process_pool
from lesionloss.data.cohort import Cohort
from lesionloss.data.cohort_index import INDEX, CaseEntry, entry_from
from lesionloss.data.dicom import series_digest
from lesionloss.data.dicom_headers import is_series
from lesionloss.data.layouts.records import CaseFiles, Layout, Target
from lesionloss.data.nifti import repairs_of
from lesionloss.data.preparation.case_state import PreparationState, finish_preparation, start_preparation
from lesionloss.data.preparation.read_case import oriented, read_case, without_registration
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.preparation.steps import run_steps
from lesionloss.data.prepared import PreparedCase, load_record, save_prepared
from lesionloss.data.stand_ins import missing_file
from lesionloss.data.subject import Subject

# Raised whenever the same subject and settings would give other numbers; cases prepared before are then made again.
VERSION = 1
PROGRAMS = ("lesionloss", "numpy", "scipy", "nibabel", "SimpleITK", "connected-components-3d", "edt")


@dataclass(frozen=True)
class PreparationTask:
    """One case to prepare; the layout is the cohort's, with the labels and contrasts of its folder and target."""

    layout: Layout
    target: Target
    root: Path
    files: CaseFiles
    hashes: Mapping[str, str]
    folder: Path
    recipe: PreparationRecipe

    @property
    def path(self) -> Path:
        """Where the prepared case goes."""
        return self.folder / f"{self.files.name}.npz"


@dataclass(frozen=True)
class TaskResult:
    """The entry of a prepared case; `prepared_now` is False if it was there unchanged."""

    entry: CaseEntry
    prepared_now: bool


def prepare_subject(subject: Subject, recipe: PreparationRecipe | None = None) -> PreparedCase:
    """Prepare a subject in memory; the step `register` needs files and is left out.

    Args:
        subject: Visits, reference and masks on one grid.
        recipe: The steps and their settings; None takes the default ones (orient, brain, crop, normalise, subtract).

    Returns:
        The prepared case. With the default steps, the box holds the brain and the whole reference (also outside the
        brain mask), the image is 0 outside the brain, and two visits get a difference of their first contrasts.

    Raises:
        DataError: A visit is constant inside the brain, or a step can't be done.
    """
    recipe = recipe or PreparationRecipe()
    state = start_preparation(oriented(without_registration(subject), recipe.axes))
    return finish_preparation(run_steps(state, recipe))


def file_digest(path: Path) -> str:
    """Hash the content of a file or a DICOM series.

    A file is read again only if it was written again, as many cases may lie in one.

    Raises:
        DataError: The file can't be read.
    """
    if is_series(path):
        return series_digest(path)
    try:
        state = path.stat()
        return _digest(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        reason = missing_file(path) if isinstance(error, FileNotFoundError) else f"can't be read ({error.strerror})"
        raise DataError(f"{path}: {reason}") from error


@lru_cache(maxsize=100_000)
def _digest(path: Path, changed: int, size: int) -> str:
    return sha256_of(path)


def run_tasks(tasks: Sequence[PreparationTask], jobs: int) -> Generator[TaskResult | str]:
    """Yield each task's result, or one line that says why there is none, in the order of the tasks."""
    if jobs <= 1 or len(tasks) <= 1:
        yield from map(run_task, tasks)
        return
    with process_pool(min(jobs, len(tasks))) as pool:
        futures = [pool.submit(run_task, task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                yield f"{task.files.name}: a process was ended from outside (memory?); try again with fewer --jobs"


def run_task(task: PreparationTask) -> TaskResult | str:
    """Prepare a case and write its record, unless both are there from the same files and settings."""
    made_from = {
        "version": VERSION,
        "layout": task.layout.name,
        "labels": _plain(asdict(task.layout.labels)),
        "contrasts": list(task.layout.contrasts),
        "target": task.target.name,
        "preparation": task.recipe.settings(),
        "patient": task.files.patient,
        "part": task.files.part,
        "sha256": dict(task.hashes),
    }
    try:
        before = _made_before(task.path, made_from)
        if before is not None:
            _write_record(task, before)
            return TaskResult(entry_from(before["entry"]), prepared_now=False)
        entry = _make(task, made_from)
    except DataError as error:
        return str(error)
    return TaskResult(entry, prepared_now=True)


def _plain(value: dict[str, Any]) -> Any:
    """Convert a record to what JSON reads back: lists for tuples."""
    return json.loads(json.dumps(value))


def _make(task: PreparationTask, made_from: dict[str, Any]) -> CaseEntry:
    layout = task.layout
    cohort = Cohort(layout, task.target, task.root, (task.files,), ())
    registration = task.recipe.register_ if "register" in task.recipe.steps else None
    state = run_steps(start_preparation(read_case(cohort, task.files, registration, task.recipe.axes)), task.recipe)
    case = finish_preparation(state)
    entry = _entry(case, state, task.hashes)
    repaired = _repaired(task.files) if layout.read is None else ()
    record = {
        "made_from": made_from,
        "entry": asdict(entry),
        "steps": state.record,
        "repairs": [*repaired, *state.repairs],
        "versions": _versions(),
    }
    # An index of before must not outlive the cases it describes.
    (task.folder / INDEX).unlink(missing_ok=True)
    save_prepared(case, task.path, record)
    _write_record(task, record)
    return entry


def _write_record(task: PreparationTask, record: Mapping[str, Any]) -> None:
    """Write the record beside the case, for people and other programs; the one inside the case decides."""
    path = task.path.with_suffix(".json")
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _repaired(files: CaseFiles) -> tuple[str, ...]:
    """List what reading the masks repaired; paths become names, so that records don't depend on the machine."""
    masks = [path for path in (files.reference, files.brain) if path is not None]
    return tuple(line.replace(str(path), path.name) for path in masks for line in repairs_of(path, is_mask=True))


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PROGRAMS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _made_before(path: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        record = load_record(path)
    except DataError:
        return None
    return record if record.get("made_from") == made_from else None


def _entry(case: PreparedCase, state: PreparationState, hashes: Mapping[str, str]) -> CaseEntry:
    voxels = int(case.lesion.sum())
    return CaseEntry(
        name=case.name,
        patient=case.patient,
        spacing_mm=case.spacing_mm,
        shape=case.shape,
        reference_voxels=voxels,
        reference_mm3=voxels * math.prod(case.spacing_mm),
        reference_outside_brain=case.reference_outside_brain,
        brain=state.brain_from or "whole image",
        sha256=dict(hashes),
        content_sha256=case.content_sha256,
    )
