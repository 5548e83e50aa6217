"""The maps, masks and references that the tests of `lesionloss evaluate` write and score."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator

AFFINE = np.diag([0.9, 0.9, 3.0, 1.0])
SPACING = (0.9, 0.9, 3.0)
NAMES = ["a", "b/c", "missed"]


def arrays(name: str) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A map, a mask and a reference; in one case nothing is predicted."""
    generator = numpy_generator("evaluate", name)
    reference = np.zeros((16, 15, 8), dtype=bool)
    reference[3:7, 4:8, 2:4] = reference[10:13, 10:13, 5:7] = True
    probability = np.clip(generator.normal(0.15 + 0.6 * np.roll(reference, 1, axis=0), 0.1), 0, 1).astype(np.float32)
    return probability * (name != "missed"), (probability >= 0.5) & (name != "missed"), reference


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
