"""Simulated designs: paired differences of two losses with a known truth and known sources of variance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator


@dataclass(frozen=True)
class SimulatedDesign:
    """A true difference, and its standard deviations between patients, between training runs, and of the rest."""

    patients: int
    folds: int = 1
    seeds: int = 1
    mean: float = 0.0
    patient: float = 1.0
    training_run: float = 0.0
    rest: float = 0.0


def simulated_differences(design: SimulatedDesign, runs: int, *name: str | int) -> list[NDArray[np.float64]]:
    """One table (runs, patients of the fold, seeds) per fold; the folds are as equal as possible."""
    draw = numpy_generator("simulated", *name)
    tables = []
    for part in np.array_split(np.arange(design.patients), design.folds):
        shape = (runs, len(part), design.seeds)
        tables.append(
            design.mean
            + design.patient * draw.normal(size=(runs, len(part), 1))
            + design.training_run * draw.normal(size=(runs, 1, design.seeds))
            + design.rest * draw.normal(size=shape)
        )
    return tables


def patient_means(tables: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Means over seeds (runs, patients)."""
    return np.concatenate([table.mean(axis=2) for table in tables], axis=1)


# Differences between two equally good losses, one value per patient, and scores of one loss with their true mean.
Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
DIFFERENCES: dict[str, Draw] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "Dice scores, beta(5, 2) minus beta(5, 2)": lambda draw, shape: draw.beta(5, 2, shape) - draw.beta(5, 2, shape),
    "heavy tails, t with 3": lambda draw, shape: draw.standard_t(3, shape),
    "Laplace": lambda draw, shape: draw.laplace(size=shape),
}
SCORES: dict[str, tuple[Draw, float]] = {
    "Dice scores, beta(5, 2)": (lambda draw, shape: draw.beta(5, 2, shape), 5 / 7),
    "Dice scores, beta(2, 1)": (lambda draw, shape: draw.beta(2, 1, shape), 2 / 3),
    "normal": (lambda draw, shape: draw.normal(size=shape), 0.0),
}
