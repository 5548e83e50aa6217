"""What training runs add to the spread: analysis of variance of patients by seeds within folds, and its interval.

A fold and a seed make one training run, and all patients of the fold share its effect. Sums of squares and their
expectations are those of the nested crossed layout (Searle, Casella, McCulloch, "Variance Components", 1992, ch. 4
and 5): exact for folds of unequal size. Estimates may be negative; the caller decides what to do then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.statistics.evidence import CONFIDENCE, Interval


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


def training_run_weight(patients: Sequence[float], seeds: Sequence[int]) -> float:
    """The part of a training run's variance that the spread between the patients' means does not contain yet.

    With one fold it is all of it, divided by the seeds. With one patient per fold it is zero, because every patient
    has training runs of its own.

    Args:
        patients: The number of patients of each fold.
        seeds: The number of seeds of each fold.

    Returns:
        The weight, 0 to 1.
    """
    n = float(sum(patients))
    share, s = np.asarray(patients) / n, np.asarray(seeds)
    seen = float((share / s * (1 - share)).sum()) / (n - 1)
    return max(0.0, float((share**2 / s).sum()) - seen)


def interval_over_training_runs(tables: Sequence[NDArray[np.float64]], centre: float) -> Interval | None:
    """95 % interval of a mean for new patients and new training runs.

    Student's t with the variance of the patients' means plus the variance that the training runs add (never below
    zero), with degrees of freedom after Satterthwaite (1946).

    Args:
        tables: Values (patients, seeds), one table per fold.
        centre: The mean that the interval is for.

    Returns:
        The interval; None for fewer than two patients, or if one seed leaves the variance of training runs unknown.
    """
    from scipy import stats

    means = np.concatenate([table.mean(axis=1) for table in tables]) if tables else np.zeros(0)
    n = len(means)
    if n < 2:
        return None
    among_patients = float(means.var(ddof=1)) / n
    weight = training_run_weight([len(table) for table in tables], [table.shape[1] for table in tables])
    layout = anova([table[None] for table in tables])
    if weight > 1e-9 and layout.training_run_variance is None:
        return None
    added = weight * max(0.0, layout.training_run_variance or 0.0)
    variance = among_patients + added
    uncertainty = among_patients**2 / (n - 1)
    if added > 0:
        scale = weight / layout.training_run.factor
        for squares in (layout.training_run, layout.rest):
            uncertainty += (scale * squares.mean) ** 2 / squares.freedom
    if variance == 0:
        return Interval(centre, centre)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, max(1.0, variance**2 / uncertainty)) * np.sqrt(variance))
    return Interval(centre - half, centre + half)
