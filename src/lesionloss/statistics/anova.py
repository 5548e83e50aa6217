"""What training runs add to the spread: analysis of variance of patients by seeds within folds.

A fold and a seed make one training run, and all patients of the fold share its effect. Sums of squares and their
expectations are those of the nested crossed layout (Searle, Casella, McCulloch, "Variance Components", 1992, ch. 4
and 5): exact for folds of unequal size. Estimates may be negative; the caller decides what to do then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SumOfSquares:
    """A sum of squares, its degrees of freedom, and the factor of its own variance in the expected mean square."""

    total: float
    freedom: int
    factor: float

    @property
    def mean(self) -> float:
        """The mean square; 0 without degrees of freedom."""
        return self.total / self.freedom if self.freedom else 0.0


@dataclass(frozen=True)
class Anova:
    """Sums of squares of one layout. Several columns (orthonormal contrasts between losses) are pooled.

    A variance is None if the design has no degrees of freedom for it. Another variance then contains it: with one seed
    per fold `patient` contains the rest and `fold` the training runs; with one patient per fold `training_run` contains
    the rest and `fold` the patients. `fold_noise` holds the factors of patient, training run and rest in the fold's
    mean square.
    """

    fold: SumOfSquares
    patient: SumOfSquares
    training_run: SumOfSquares
    rest: SumOfSquares
    fold_noise: tuple[float, float, float]

    @property
    def rest_variance(self) -> float | None:
        """The variance of the rest."""
        return self.rest.mean if self.rest.freedom else None

    @property
    def patient_variance(self) -> float | None:
        """The variance between patients of a fold."""
        return self._above_rest(self.patient)

    @property
    def training_run_variance(self) -> float | None:
        """The variance between training runs of a fold."""
        return self._above_rest(self.training_run)

    @property
    def fold_variance(self) -> float | None:
        """The variance between folds."""
        parts = (self.patient_variance, self.training_run_variance, self.rest_variance)
        if not self.fold.freedom:
            return None
        noise = sum(factor * (part or 0.0) for factor, part in zip(self.fold_noise, parts, strict=True))
        return (self.fold.mean - noise) / self.fold.factor

    def _above_rest(self, squares: SumOfSquares) -> float | None:
        if not squares.freedom:
            return None
        return (squares.mean - self.rest.mean) / squares.factor


def anova(tables: Sequence[NDArray[np.float64]]) -> Anova:
    """Analyse the variance of tables (columns, patients, seeds), one per fold, all with the same columns."""
    columns = tables[0].shape[0]
    n = np.array([table.shape[1] for table in tables])
    s = np.array([table.shape[2] for table in tables])
    cells = n * s
    folds = np.stack([table.mean(axis=(1, 2)) for table in tables])  # folds, columns
    overall = (cells[:, None] * folds).sum(axis=0) / cells.sum()
    between = float((cells[:, None] * (folds - overall) ** 2).sum())
    share = cells * (1 - cells / cells.sum())
    fold_freedom = len(tables) - 1
    per_freedom = 1 / max(fold_freedom, 1)
    sums = np.array([_within(table) for table in tables]).sum(axis=0)
    return Anova(
        fold=SumOfSquares(between, columns * fold_freedom, float(share.sum()) * per_freedom),
        patient=SumOfSquares(sums[0], columns * int((n - 1).sum()), _ratio((s * (n - 1)).sum(), (n - 1).sum())),
        training_run=SumOfSquares(sums[1], columns * int((s - 1).sum()), _ratio((n * (s - 1)).sum(), (s - 1).sum())),
        rest=SumOfSquares(sums[2], columns * int(((n - 1) * (s - 1)).sum()), 1.0),
        fold_noise=(
            float((share / n).sum()) * per_freedom,
            float((share / s).sum()) * per_freedom,
            float((share / cells).sum()) * per_freedom,
        ),
    )


def _within(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Sums of squares of patients, seeds and rest of one fold (columns, patients, seeds)."""
    middle = table.mean(axis=(1, 2), keepdims=True)
    patients, seeds = table.mean(axis=2, keepdims=True), table.mean(axis=1, keepdims=True)
    rest = table - patients - seeds + middle
    return (
        float(((patients - middle) ** 2).sum()) * table.shape[2],
        float(((seeds - middle) ** 2).sum()) * table.shape[1],
        float((rest**2).sum()),
    )


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else 0.0
