"""What a trial keeps of a held-out case: probabilities and class numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.runs.run_files import read_arrays
from lesionloss.runs.run_records import RunTrial


@dataclass(frozen=True, eq=False)
class KeptPrediction:
    """What a trial kept of a case.

    Attributes:
        probability: Of any lesion, float32 (*space).
        labels: The class numbers that were scored, uint8 (*space); None if the run has one class.
        in_slice: Probability of each class (L, rows, columns) in the slice with most lesion; None in runs of one class,
            and in those that did not keep it.
    """

    probability: NDArray[np.float32]
    labels: NDArray[np.uint8] | None
    in_slice: NDArray[np.float32] | None


def read_probability(trial: RunTrial, case: str) -> NDArray[np.float32]:
    """The probability map of a case that a trial kept, float32 (*space).

    Raises:
        DataError: The map is absent, damaged or not float32.
    """
    return read_prediction(trial, case).probability


def read_prediction(trial: RunTrial, case: str) -> KeptPrediction:
    """All that a trial kept of a case.

    Raises:
        DataError: The file is absent or damaged, or its map is not float32.
    """
    path = _prediction(trial, case)
    arrays = read_arrays(path)
    if "probability" not in arrays:
        raise DataError(f"{path}: no array named 'probability'; remove the trial's folder and bench again")
    found = arrays["probability"]
    if found.dtype != np.float32:
        hint = ", as version 0.1 wrote it" if found.dtype == np.uint8 else ""
        raise DataError(f"{path}: expected 'probability' as float32, got {found.dtype}{hint}; bench into a new folder")
    labels, in_slice = arrays.get("classes"), arrays.get("slice")
    return KeptPrediction(
        found,
        None if labels is None else labels.astype(np.uint8),
        None if in_slice is None else in_slice.astype(np.float32),
    )


def _prediction(trial: RunTrial, case: str) -> Path:
    return trial.file(f"predictions/{Path(case).name}.npz")
