"""A cohort on disk in the MSSEG-2 folder layout. Safe to kill: a patient's folder is whole or absent."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.errors import DataError, UsageError
from lesionloss.files import whole_folder, write_text
from lesionloss.synth.patient import PatientRecord, SyntheticPatient, synthesise
from lesionloss.synth.plan import SynthSettings

__all__ = [
    "COHORT_FILE",
    "RECORD_FILE",
    "SynthSettings",
    "nifti_bytes",
    "patient_folder",
    "record_as_json",
    "write_cohort",
]

COHORT_FILE = "cohort.json"
RECORD_FILE = "record.json"
_PATIENT_FOLDER = re.compile(r"\d{3,}(\.partial)?")


def patient_folder(folder: Path, index: int) -> Path:
    """Where patient `index` (from 0) lies: training/001 is the first."""
    return folder / "training" / f"{index + 1:03d}"


def write_cohort(
    folder: Path,
    patients: int,
    seed: int,
    settings: SynthSettings,
    progress: Callable[[str, int, int], None],
    force: bool = False,
) -> list[dict[str, Any]]:
    """Write patients 0 … `patients` - 1 of the cohort `seed`; gives the record of each, as read from its file.

    `progress` is called with the name of a finished patient, how many are done, and of how many. An interrupted or smaller cohort of the same seed and
    settings is continued; `force` replaces a cohort of another seed or size, and writes beside foreign files.

    Raises UsageError if `patients` is less than 1, `seed` is negative or the folder holds something else, and DataError
    if the record of a patient written earlier can't be read.
    """
    if patients < 1:
        raise UsageError(f"--patients is {patients}; a cohort has at least 1 patient")
    if seed < 0:
        raise UsageError(f"--seed is {seed}; choose 0 or a positive whole number")
    declared = {"seed": seed, "settings": asdict(settings), "patients": patients}
    _claim(folder, declared, force)
    write_text(folder / COHORT_FILE, json.dumps(declared, indent=2) + "\n")
    records = []
    for index in range(patients):
        target = patient_folder(folder, index)
        if not target.exists():
            with whole_folder(target) as partial:
                _write_patient(partial, synthesise(seed, index, settings))
        records.append(_read_record(target))
        progress(target.name, index + 1, patients)
    return records


def _read_record(patient: Path) -> dict[str, Any]:
    file = patient / RECORD_FILE
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{file} is missing or damaged; remove the folder {patient} and run again") from error
    return record


def _claim(folder: Path, declared: dict[str, Any], force: bool) -> None:
    """Make sure that writing the declared cohort into `folder` destroys nothing that was not asked for."""
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
            f"{folder} holds another cohort ({_in_words(held)}); asked for {_in_words(declared)}; "
            "give another folder, or add --force to replace it"
        )
    _remove_patients(folder)


def _declared_in(folder: Path) -> dict[str, Any] | None:
    """What the cohort in the folder says of itself; None where there is none."""
    try:
        held = json.loads((folder / COHORT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
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


def _write_patient(folder: Path, patient: SyntheticPatient) -> None:
    baseline, followup = patient.visits
    images: dict[str, NDArray[Any]] = {
        "flair_time01_on_middle_space": baseline,
        "flair_time02_on_middle_space": followup,
        "ground_truth": patient.reference.astype(np.uint8),
        "brain_mask": patient.brain.astype(np.uint8),
    }
    for name, array in images.items():
        (folder / f"{name}.nii.gz").write_bytes(nifti_bytes(array, patient.affine))
    text = json.dumps(record_as_json(patient.record), indent=2, allow_nan=False)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def nifti_bytes(array: NDArray[Any], affine: NDArray[np.float64]) -> bytes:
    """A compressed NIfTI-1 file whose bytes depend on the content alone: no time stamp, no file name."""
    import nibabel

    make: Any = nibabel.Nifti1Image  # nibabel is partly typed
    image = make(array, affine)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def record_as_json(record: PatientRecord) -> dict[str, Any]:
    """Plain dictionaries, lists and numbers."""
    plan = asdict(record.plan)
    del plan["lesions"]  # what became of them stands under "lesions"
    return asdict(record) | {"plan": plan}
