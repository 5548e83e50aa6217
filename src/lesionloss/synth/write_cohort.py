"""A cohort on disk in the MSSEG-2 folder layout; writes are atomic, so each patient is there whole or not at all."""

import contextlib
import json
import math
import re
import shutil
from collections.abc import Callable, Generator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import atomic_folder, write_text
from lesionloss.core.processes import process_pool
from lesionloss.synth.patient import synthesise
from lesionloss.synth.patient_files import RECORD_FILE, write_patient
from lesionloss.synth.patient_plan import plan_patient
from lesionloss.synth.scanner import sampling_of
from lesionloss.synth.settings import SynthSettings

COHORT_FILE = "cohort.json"
# Of the files of a patient, at all voxel sizes and in all profiles to within a fifth; the voxels' part is for 1 mm3.
RECORD_BYTES, VOXEL_BYTES = 40_000, 4.4e6
PLANS_TRIED = 50  # patients whose protocols tell the mean voxel size of a cohort
_PATIENT_FOLDER = re.compile(r"\d{3,}(\.partial)?")


def patient_folder(folder: Path, index: int) -> Path:
    """Return the folder of patient `index` (from 0): training/001 is the first."""
    return folder / "training" / f"{index + 1:03d}"


def write_cohort(
    folder: Path,
    patients: int,
    seed: int,
    settings: SynthSettings,
    progress: Callable[[str, int, int], None],
    force: bool = False,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Write a synthetic cohort; an interrupted or smaller one of the same seed and settings is continued.

    Args:
        folder: The folder of the cohort.
        patients: How many patients.
        seed: Seed of the cohort.
        settings: The ranges.
        progress: Called with (name of a finished patient, how many are done, of how many).
        force: Whether to replace a cohort of another seed or size, and to write beside foreign files.
        jobs: Processes that draw patients; the patients don't depend on it.

    Returns:
        The record of each patient, as read from its file.

    Raises:
        UsageError: `patients` or `jobs` is below 1, `seed` is negative, the folder holds something else, or the disk is
            too small.
        DataError: The record of a patient written earlier can't be read.
    """
    if patients < 1:
        raise UsageError(f"--patients is {patients}; a cohort has at least 1 patient")
    if seed < 0:
        raise UsageError(f"--seed is {seed}; choose 0 or a positive whole number")
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}; at least 1 process draws the patients")
    declared = {"seed": seed, "settings": settings.model_dump(mode="json"), "patients": patients}
    _require_space(folder, patients, seed, settings)
    _claim(folder, declared, force)
    try:
        write_text(folder / COHORT_FILE, json.dumps(declared, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{folder} can't be written to ({error.strerror}); give a folder that can") from error
    names = [patient_folder(folder, index) for index in range(patients)]
    tasks = [_PatientTask(target, seed, index, settings) for index, target in enumerate(names)]
    finished = [target.name for target in names if target.exists()]
    missing = [task for task in tasks if not task.target.exists()]
    done = len(finished)
    if finished:
        progress(finished[-1], done, patients)
    with contextlib.closing(_write_patients(missing, min(jobs, len(missing)))) as written:
        for count, name in enumerate(written, 1):
            progress(name, done + count, patients)
    return [_read_record(target) for target in names]


@dataclass(frozen=True)
class _PatientTask:
    """One patient to draw and write."""

    target: Path
    seed: int
    index: int
    settings: SynthSettings

    def write(self) -> str:
        """Draw the patient, write its folder and return its name."""
        with atomic_folder(self.target) as partial:
            write_patient(partial, synthesise(self.seed, self.index, self.settings))
        return self.target.name


def _write_patients(tasks: list[_PatientTask], workers: int) -> Generator[str]:
    """Yield the names of the patients as they are finished, in this process or in several new ones."""
    if workers <= 1:
        yield from (task.write() for task in tasks)
        return
    with process_pool(workers) as pool:
        for future in as_completed([pool.submit(task.write) for task in tasks]):
            yield future.result()


def _read_record(patient: Path) -> dict[str, Any]:
    file = patient / RECORD_FILE
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is missing or damaged; remove the folder {patient} and run again") from error
    return record


def expected_bytes(patients: int, seed: int, settings: SynthSettings) -> float:
    """Return about how many bytes the files of a patient take, as a mean over the cohort."""
    plans = (plan_patient(seed, index, settings) for index in range(min(patients, PLANS_TRIED)))
    grids = [sampling_of(settings.spacing_mm, plan.followup.protocol) for plan in plans]
    voxels_mm3 = [math.prod(grid.spacing_mm) * math.prod(grid.pool) for grid in grids]
    return RECORD_BYTES + VOXEL_BYTES * sum(1 / volume for volume in voxels_mm3) / len(voxels_mm3)


def _require_space(folder: Path, patients: int, seed: int, settings: SynthSettings) -> None:
    """Refuse a cohort that can't fit on the disk; its first patients would fill it."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    written = len(list((folder / "training").glob("*")))
    needed, disk = (patients - written) * expected_bytes(patients, seed, settings), shutil.disk_usage(place)
    if needed > disk.free and disk.total:  # 0: no disk, such as /proc
        raise UsageError(
            f"--patients is {patients}: they need about {needed / 1e9:,.1f} GB, and {place} has "
            f"{disk.free / 1e9:,.1f} GB free; choose fewer, or another folder"
        )


def _claim(folder: Path, declared: dict[str, Any], force: bool) -> None:
    """Make sure that writing the cohort into `folder` destroys nothing without `force`."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder that is new or empty")
    if not folder.exists() or not any(folder.iterdir()):
        return
    held = _declared_in(folder)
    if held is None:
        if not force:
            raise UsageError(
                f"{folder} holds other files; give a folder that is new or empty, or add --force to write beside them"
            )
        if (folder / "training").exists():
            raise UsageError(f"{folder}/training is no synthetic cohort and is never replaced; give another folder")
        return
    same = held["seed"] == declared["seed"] and held["settings"] == declared["settings"]
    if same and held["patients"] <= declared["patients"]:
        return
    if not force:
        raise UsageError(
            f"{folder} holds another cohort ({_in_words(held)}), not {_in_words(declared)}; "
            "give another folder, or add --force to replace it"
        )
    _remove_patients(folder)


def _declared_in(folder: Path) -> dict[str, Any] | None:
    """Read what the cohort in the folder declares; None where there is none."""
    try:
        held = json.loads((folder / COHORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(held, dict) and isinstance(held.get("settings"), dict)
    whole = whole and isinstance(held.get("patients"), int) and isinstance(held.get("seed"), int)
    return held if whole else None


def _in_words(declared: dict[str, Any]) -> str:
    spacing = declared["settings"].get("spacing_mm")
    return f"{declared['patients']} patients, seed {declared['seed']}, spacing {spacing} mm"


def _remove_patients(folder: Path) -> None:
    """Remove the patients that this module wrote, and nothing else."""
    (folder / COHORT_FILE).unlink()
    for patient in sorted((folder / "training").glob("*")):
        ours = patient.name.endswith(".partial") or (patient / RECORD_FILE).exists()
        if _PATIENT_FOLDER.fullmatch(patient.name) and ours:
            shutil.rmtree(patient)
