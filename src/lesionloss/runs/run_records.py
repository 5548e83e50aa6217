"""Records of a run: the cases of its cohort, the trials that ended well, failed or are missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.errors import shown
from lesionloss.core.files import is_file_name
from lesionloss.runs.run_files import read_json
from lesionloss.runs.trial_manifest import verified

MACHINE = "machine.json"
TRIALS, NOISE_FLOOR = "trials", "noise_floor"  # folders of a run: its trials, and one of them trained again
MOST = 1e6  # voxels along an axis, or mm of a voxel's edge


@dataclass(frozen=True)
class CohortCase:
    """One case of the cohort: its patient, the grid of its masks, and the lesion volume of its reference."""

    name: str
    patient: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    reference_mm3: float

    def __post_init__(self) -> None:
        """Raise ValueError for a name that leads to another folder, and for numbers that are no grid."""
        if not is_file_name(self.name):
            raise ValueError(f"name ({shown(self.name)} is no name of a file)")
        sides = [side for side in (*self.shape, *self.spacing_mm) if 0 < side < MOST]
        if len(self.shape) != len(self.spacing_mm) or len(sides) not in (4, 6) or not 0 <= self.reference_mm3 < MOST**3:
            raise ValueError(f"shape, spacing_mm and reference_mm3 of {self.name}")

    @property
    def diagonal_mm(self) -> float:
        """The longest distance within the grid: it replaces an infinite distance."""
        return float(np.linalg.norm(np.asarray(self.shape) * np.asarray(self.spacing_mm)))

    @property
    def diagonal_voxels(self) -> float:
        """The same in voxels."""
        return float(np.linalg.norm(self.shape))


@dataclass(frozen=True)
class LeftOut:
    """A case that was found but not used, and why."""

    case: str
    reason: str


@dataclass(frozen=True)
class RunTrial:
    """A trial that ended well.

    Attributes:
        record: Every field of its trial.toml.
        files: The checksum of each of its files, from its manifest.
        plan_sha256: The checksum of the plan that it was made with.
    """

    key: str
    loss: str
    method: str
    fold: int
    seed: int
    folder: Path
    record: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    plan_sha256: str = ""

    def file(self, name: str) -> Path:
        """A file of the trial, after its checksum was compared with the manifest.

        Raises:
            DataError: It is absent, damaged or edited.
        """
        return verified(self.folder, name, self.files)

    @cached_property
    def machine(self) -> dict[str, Any]:
        """The content of machine.json; empty if there is none.

        Raises:
            DataError: The file is damaged.
        """
        return read_json(self.file(MACHINE)) if MACHINE in self.files else {}

    @property
    def threshold(self) -> float:
        """The probability threshold that this trial was scored at."""
        return float(self.record.get("threshold", 0.5))

    @property
    def has_probabilities(self) -> bool:
        """Whether its maps are probabilities; of predictions that others made, they may be masks of 0 and 1."""
        return self.record.get("maps") != "masks"

    def tested(self, case: str) -> bool:
        """Whether the case is one of the trial's test cases."""
        return case in self.record.get("test", [])

    def is_pair_of(self, other: "RunTrial") -> bool:
        """Whether two training runs are proven to differ only in the loss: same pair digest, initial weights, batches.

        If they ended at different steps, the batches up to the earlier end are compared.
        """
        mine, theirs = ([str(trial.record.get(key, "")) for key in ("pair", "weights_hash")] for trial in (self, other))
        if mine != theirs or not all(mine):
            return False
        last = min(self.last_step, other.last_step)
        seen = [trial.batches_at(last) for trial in (self, other)]
        return seen[0] == seen[1] != ""

    @property
    def last_step(self) -> int:
        """The last step of a training run that may end early; 0 for all others."""
        return int(self.record.get("last_step", 0))

    def batches_at(self, step: int) -> str:
        """The hash of all batches up to a step at which the training run may have ended, or up to its end."""
        if step == self.last_step:
            return str(self.record.get("batches_hash", ""))
        return str(dict(self.record.get("batches_hash_at", {})).get(str(step), ""))


@dataclass(frozen=True)
class FailedTrial:
    """A trial that stopped with an error; `reason` is the last line of its traceback."""

    key: str
    loss: str
    fold: int
    seed: int
    reason: str


@dataclass(frozen=True)
class MissingTrial:
    """A trial of the plan that the folder does not hold, neither finished nor failed."""

    loss: str
    fold: int
    seed: int
