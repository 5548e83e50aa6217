"""Scores with a known truth: differences of two losses, with luck of the patients and of the trainings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator


@dataclass(frozen=True)
class Truth:
    """A difference and its standard deviations among patients, among trainings (fold and seed), and the rest."""

    patients: int
    folds: int = 1
    seeds: int = 1
    mean: float = 0.0
    patient: float = 1.0
    training: float = 0.0
    rest: float = 0.0


def differences(truth: Truth, runs: int, *name: str | int) -> list[NDArray[np.float64]]:
    """One table (runs, patients of the fold, seeds) per fold; folds as equal as they can be."""
    draw = numpy_generator("simulated", *name)
    tables = []
    for part in np.array_split(np.arange(truth.patients), truth.folds):
        shape = (runs, len(part), truth.seeds)
        tables.append(
            truth.mean
            + truth.patient * draw.normal(size=(runs, len(part), 1))
            + truth.training * draw.normal(size=(runs, 1, truth.seeds))
            + truth.rest * draw.normal(size=shape)
        )
    return tables


def patient_means(tables: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Means over seeds (runs, patients)."""
    return np.concatenate([table.mean(axis=2) for table in tables], axis=1)


# Differences between two equally good losses, one value per patient, and scores of one loss with their true mean.
DIFFERENCES = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "Dice scores, beta(5, 2) minus beta(5, 2)": lambda draw, shape: draw.beta(5, 2, shape) - draw.beta(5, 2, shape),
    "heavy tails, t with 3": lambda draw, shape: draw.standard_t(3, shape),
    "Laplace": lambda draw, shape: draw.laplace(size=shape),
}
SCORES = {
    "Dice scores, beta(5, 2)": (lambda draw, shape: draw.beta(5, 2, shape), 5 / 7),
    "Dice scores, beta(2, 1)": (lambda draw, shape: draw.beta(2, 1, shape), 2 / 3),
    "normal": (lambda draw, shape: draw.normal(size=shape), 0.0),
}
