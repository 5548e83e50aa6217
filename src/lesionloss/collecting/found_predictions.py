"""What was found before anything is read: predictions with loss, fold and seed, and what does not fit."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.collecting.pairing_record import TrainerRecord
from lesionloss.core.files import sha256_of
from lesionloss.runs.run_records import LeftOut

Source = Path | NDArray[Any]
FIRST_SEED = 0  # of training runs whose seed is not known


@dataclass(frozen=True, eq=False)
class Prediction:
    """One prediction for one case, with its reference: arrays (*space), or NIfTI files.

    Attributes:
        loss: The loss that trained the network, or the name of the method where methods differ in more.
        case: The name of the case.
        prediction: A mask of 0 and 1, label numbers, or a map of probabilities.
        reference: The mask or label numbers of the reference.
        fold: The fold of a cross-validation that tests the case.
        seed: The seed of the training run; None: not known.
        patient: The patient of the case; empty: the case is a patient of its own.
        probability: The map that a mask was made from.
        image: The image, for pictures in the report.
        spacing_mm: The size of a voxel along each axis, for arrays.
    """

    loss: str
    case: str
    prediction: Source
    reference: Source
    fold: int = 0
    seed: int | None = None
    patient: str = ""
    probability: Source | None = None
    image: Source | None = None
    spacing_mm: tuple[float, ...] = ()

    @property
    def trial(self) -> "TrialName":
        """The training run that made it."""
        return TrialName(self.loss, self.fold, FIRST_SEED if self.seed is None else self.seed)


@dataclass(frozen=True, order=True)
class TrialName:
    """One training run: loss, fold and seed."""

    loss: str
    fold: int
    seed: int

    def __str__(self) -> str:
        """In words."""
        return f"{self.loss}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class Mismatch:
    """Something that does not fit: `kind` is the same for all of its sort, `text` says which."""

    kind: str
    text: str

    def __str__(self) -> str:
        """As one line."""
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class ClassLabels:
    """Which numbers of a label map are lesion.

    Attributes:
        numbers: The label of each class, by its name; empty: masks of 0 and 1.
        ignore: The label of voxels that count for nothing, None for none.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    ignore: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.numbers) or ("lesion",)


@dataclass(frozen=True)
class Collection:
    """All predictions that were found.

    Attributes:
        predictions: In the order of their names.
        mismatches: What does not fit.
        left_out: Cases that can't be used, and why.
        source: Where they come from, for the record of the run.
        labels: What is lesion.
        train: The training cases of each fold, where they are known.
        proofs: What the trainer of each training run wrote of weights, batches, length and machine, if anything.
    """

    predictions: tuple[Prediction, ...]
    mismatches: tuple[Mismatch, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    source: Mapping[str, str] = field(default_factory=dict)
    labels: ClassLabels = field(default_factory=ClassLabels)
    train: Mapping[int, Sequence[str]] = field(default_factory=dict)
    proofs: Mapping[TrialName, TrainerRecord] = field(default_factory=dict)


def digest_of(source: Source | None) -> str:
    """Return the digest of the content of a file or an array; empty for None."""
    if source is None:
        return ""
    if isinstance(source, Path):
        return sha256_of(source)
    array = np.ascontiguousarray(source)
    return hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes()).hexdigest()
