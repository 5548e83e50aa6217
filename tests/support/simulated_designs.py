"""Simulated designs: paired differences of two losses with a known truth and known sources of variance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.evidence import ALPHA, sign_flip_ps
from lesionloss.statistics.new_training_runs import fold_ps, fold_spread
from lesionloss.statistics.verdicts import FREEDOM_FOR_A_VERDICT


@dataclass(frozen=True)
class SimulatedDesign:
    """A true difference, and its standard deviations: patients, training sets (folds), seeds, and the rest."""

    patients: int
    folds: int = 1
    seeds: int = 1
    mean: float = 0.0
    patient: float = 1.0
    training_run: float = 0.0
    rest: float = 0.0
    training_set: float = 0.0


def simulated_differences(design: SimulatedDesign, runs: int, *name: str | int) -> list[NDArray[np.float64]]:
    """One table (runs, patients of the fold, seeds) per fold; the folds are as equal as possible."""
    draw = numpy_generator("simulated", *name)
    tables = []
    for part in np.array_split(np.arange(design.patients), design.folds):
        shape = (runs, len(part), design.seeds)
        tables.append(
            design.mean
            + design.patient * draw.normal(size=(runs, len(part), 1))
            + design.training_set * draw.normal(size=(runs, 1, 1))
            + design.training_run * draw.normal(size=(runs, 1, design.seeds))
            + design.rest * draw.normal(size=shape)
        )
    return tables


def simulated_families(
    design: SimulatedDesign, comparisons: int, runs: int, *name: str | int, repeats: int = 1
) -> list[list[NDArray[np.float64]]]:
    """Differences of several losses from one baseline, whose chance effects they share.

    For each repeat, for each fold, (runs, comparisons, patients of the fold): means over seeds. Patients come in
    another order in every repeat.
    """
    draw, half = numpy_generator("families", comparisons, *name), 0.5**0.5
    shape = (runs, comparisons + 1)
    patients = draw.normal(size=(*shape, design.patients))
    found = []
    for repeat in range(repeats):
        order = draw.permutation(design.patients) if repeat else np.arange(design.patients)
        folds = []
        for part in np.array_split(order, design.folds):
            scores = half * (
                design.patient * patients[..., part]
                + design.training_set * draw.normal(size=(*shape, 1))
                + design.training_run / design.seeds**0.5 * draw.normal(size=(*shape, 1))
                + design.rest / design.seeds**0.5 * draw.normal(size=(*shape, len(part)))
            )
            folds.append(design.mean + scores[:, 1:] - scores[:, :1])
        found.append(folds)
    return found


def verdict_ps(repeats: list[list[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """The product's p of a verdict, (runs, comparisons): over patients and over folds, the larger one.

    In every repeat but the first, patients are in another order; the test over patients takes the first, as all repeats
    have the same patients.
    """
    values = np.concatenate(repeats[0], axis=-1)
    flat = values.reshape(-1, values.shape[-1])
    parts = [sign_flip_ps(flat[start : start + 500]) for start in range(0, len(flat), 500)]
    centre = np.mean([np.concatenate(folds, axis=-1).mean(axis=-1) for folds in repeats], axis=0)
    spread = fold_spread(repeats)
    if spread.freedom < FREEDOM_FOR_A_VERDICT:
        return np.ones(centre.shape)
    return np.maximum(np.concatenate(parts).reshape(values.shape[:-1]), fold_ps(centre, spread))


def any_verdict(ps: NDArray[np.float64], level: float = ALPHA) -> NDArray[np.bool_]:
    """Whether Holm's correction leaves any verdict (runs,), of ps (runs, comparisons)."""
    return np.asarray(ps.min(axis=-1) * ps.shape[-1] < level)


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
