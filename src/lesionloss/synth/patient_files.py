"""The files of one patient: MSSEG-2's images, the label maps beside them, and the record."""

import gzip
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.patient import PatientRecord, SyntheticPatient

RECORD_FILE = "record.json"
_ORDERS = {"axial": "LPS", "sagittal": "PSR", "coronal": "LSP"}  # as scanners write the slices of each plane


def write_patient(folder: Path, patient: SyntheticPatient) -> None:
    """Write a patient's images, label maps and record into an empty folder."""
    settings, plan = patient.record.settings, patient.record.plan
    order = _ORDERS[plan.followup.protocol.plane] if settings.axes == "acquired" else "RAS"
    for name, array in _arrays(patient).items():
        turned, affine = _turned(array, patient.affine, order)
        (folder / f"{name}.nii.gz").write_bytes(nifti_bytes(turned, affine))
    text = json.dumps(record_as_json(patient.record), indent=2, allow_nan=False)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def _arrays(patient: SyntheticPatient) -> dict[str, NDArray[Any]]:
    (baseline, followup), (before, after) = patient.visits, patient.lesions
    return {
        "flair_time01_on_middle_space": baseline,
        "flair_time02_on_middle_space": followup,
        "ground_truth": patient.reference.astype(np.uint8),
        "brain_mask": patient.brain.astype(np.uint8),
        "lesions_time01": before,
        "lesions_time02": after,
        "positive_change": (patient.change > 0).astype(np.uint8),
        "change": (patient.change != 0).astype(np.uint8),
        **{f"lesions_{kind}": labels for kind, labels in patient.kinds.items()},
    }


def _turned(array: NDArray[Any], affine: NDArray[np.float64], order: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Give an RAS array and its affine another order and direction of axes."""
    from nibabel import orientations as nibabel_orientations

    orientations: Any = nibabel_orientations  # nibabel is partly typed
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(order))
    turned: NDArray[Any] = orientations.apply_orientation(array, turn)
    return turned, affine @ orientations.inv_ornt_aff(turn, array.shape)


def nifti_bytes(array: NDArray[Any], affine: NDArray[np.float64]) -> bytes:
    """Make a compressed NIfTI-1 file whose bytes depend on the content alone: no time stamp, no file name.

    Args:
        array: Voxels (X, Y, Z).
        affine: Voxel index to world mm (4, 4).

    Returns:
        The content of a .nii.gz file.
    """
    import nibabel

    make: Any = nibabel.Nifti1Image  # nibabel is partly typed
    image = make(array, affine)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=2, mtime=0)


def record_as_json(record: PatientRecord) -> dict[str, Any]:
    """Convert a record to plain dictionaries, lists and numbers."""
    plan = asdict(record.plan)
    del plan["lesions"]  # what became of them stands under "lesions"
    plain = {field.name: getattr(record, field.name) for field in fields(record)}
    plain |= {"settings": record.settings.model_dump(mode="json"), "plan": plan}
    plain |= {name: [asdict(thing) for thing in plain[name]] for name in ("lesions", "look_alikes")}
    return plain
