"""The index of a folder of prepared cases."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionloss.core.errors import DataError
from lesionloss.data.layouts.records import Incomplete

INDEX = "index.json"


@dataclass(frozen=True)
class CaseEntry:
    """What the index of a prepared cohort says of a case.

    `brain` says where its mask is from: "file", "threshold" (made from the images), "tool NAME", "whole image";
    `sha256` holds the digests of the input files by name, `content_sha256` that of the prepared arrays;
    `reference_outside_brain` counts voxels.
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


def load_index(folder: Path) -> CohortIndex:
    """The index of a prepared cohort. Raises DataError if it is missing or not one."""
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
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the index of a prepared cohort ({error!r}); prepare the cohort again") from error


def entry_from(stored: Mapping[str, Any]) -> CaseEntry:
    """An entry from its plain values."""
    return CaseEntry(**{**stored, "spacing_mm": tuple(stored["spacing_mm"]), "shape": tuple(stored["shape"])})
