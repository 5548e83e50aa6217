"""The index of a folder of prepared cases."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from lesionloss.core.errors import DataError, shown
from lesionloss.core.files import is_file_name
from lesionloss.data.layouts.records import Incomplete

INDEX = "index.json"
TYPES: Mapping[str, type | UnionType] = {
    "patient": str,
    "reference_voxels": int,
    "reference_mm3": int | float,
    "reference_outside_brain": int,
    "brain": str,
    "sha256": Mapping,
    "content_sha256": str,
}


@dataclass(frozen=True)
class CaseEntry:
    """What the index of prepared cases says of one case.

    Attributes:
        name: Name of the case.
        patient: Name of the patient.
        spacing_mm: Edge lengths of a voxel, one per axis.
        shape: Voxels along each axis.
        reference_voxels: Lesion voxels.
        reference_mm3: Lesion volume.
        reference_outside_brain: Lesion voxels outside the brain mask.
        brain: Source of the brain mask: "file", "threshold" (made from the images), "tool NAME" or "whole image".
        sha256: Digests of the input files by name.
        content_sha256: Digest of the prepared arrays.
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
class CohortIndex:
    """What a folder of prepared cases holds, how they were prepared, and which patients were left out."""

    layout: str
    target: str
    version: int
    preparation: Mapping[str, Any]
    cases: tuple[CaseEntry, ...]
    incomplete: tuple[Incomplete, ...]

    def patient_loads(self) -> dict[str, float]:
        """Lesion volume in mm3 of each patient, over all its cases: what `make_folds` stratifies by."""
        loads: dict[str, float] = {}
        for case in self.cases:
            loads[case.patient] = loads.get(case.patient, 0.0) + case.reference_mm3
        return loads


def load_index(folder: Path) -> CohortIndex:
    """Read the index of a folder of prepared cases.

    Raises:
        DataError: The index is missing or damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise DataError(f"{path}: no such file; prepare the cohort first")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return CohortIndex(
            layout=stored["layout"],
            target=stored["target"],
            version=stored["version"],
            preparation=dict(stored["preparation"]),
            cases=tuple(entry_from(case) for case in stored["cases"]),
            incomplete=tuple(Incomplete(**patient) for patient in stored["incomplete"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not the index of a prepared cohort ({error!r}); prepare the cohort again") from error


def entry_from(stored: Mapping[str, Any]) -> CaseEntry:
    """Make an entry from its plain values.

    Raises:
        ValueError: A value has another type, or the name of the case is not the name of a file, so that it would lie in
            another folder.
    """
    if not is_file_name(stored["name"]):
        raise ValueError(f"case {shown(stored['name'])} is no name of a file")
    entry = CaseEntry(**{**stored, "spacing_mm": tuple(stored["spacing_mm"]), "shape": tuple(stored["shape"])})
    for key, kind in TYPES.items():
        value = getattr(entry, key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{key} of case {entry.name} is {shown(value)}")
    if not all(isinstance(side, int | float) and side > 0 for side in (*entry.shape, *entry.spacing_mm)):
        raise ValueError(f"shape or spacing_mm of case {entry.name}")
    return entry
