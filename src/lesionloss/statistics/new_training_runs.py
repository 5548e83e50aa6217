"""What the trainings add to the spread: analysis of variance of patients by seeds within folds, and its interval.

A fold and a seed are one training, whose luck all patients of the fold share. Sums of squares and their expectations
are those of the nested crossed layout (Searle, Casella, McCulloch, "Variance Components", 1992, ch. 4 and 5): exact for
folds of unequal size. Estimates may be negative; whoever reports them says what is done then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.statistics.evidence import CONFIDENCE, Interval


@dataclass(frozen=True)
class Square:
    """A sum of squares, its degrees of freedom, and the factor of its own variance in the expected mean square."""

    total: float
    freedom: int
    factor: float

    @property
    def mean(self) -> float:
        return self.total / self.freedom if self.freedom else 0.0


@dataclass(frozen=True)
class Anova:
    """Mean squares of one layout. Several columns (orthonormal contrasts between losses) are pooled.

    A variance is None where the design has no degrees of freedom for it. What is left then holds it too: with one seed
    per fold `patient` contains rest and `fold` the trainings; with one patient per fold `training` contains rest and
    `fold` the patients.
    """

    fold: Square
    patient: Square
    training: Square
    rest: Square
    noise_of_folds: tuple[float, float, float]  # factors of patient, training and rest in the fold's mean square

    @property
    def rest_variance(self) -> float | None:
        return self.rest.mean if self.rest.freedom else None

    @property
    def patient_variance(self) -> float | None:
        return self._above_rest(self.patient)

    @property
    def training_variance(self) -> float | None:
        return self._above_rest(self.training)

    @property
    def fold_variance(self) -> float | None:
        parts = (self.patient_variance, self.training_variance, self.rest_variance)
        if not self.fold.freedom:
            return None
        noise = sum(factor * (part or 0.0) for factor, part in zip(self.noise_of_folds, parts, strict=True))
        return (self.fold.mean - noise) / self.fold.factor

    def _above_rest(self, square: Square) -> float | None:
        if not square.freedom:
            return None
        return (square.mean - self.rest.mean) / square.factor


def anova(tables: Sequence[NDArray[np.float64]]) -> Anova:
    """Of tables (columns, patients, seeds), one per fold, all with the same columns."""
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
        fold=Square(between, columns * fold_freedom, float(share.sum()) * per_freedom),
        patient=Square(sums[0], columns * int((n - 1).sum()), _ratio((s * (n - 1)).sum(), (n - 1).sum())),
        training=Square(sums[1], columns * int((s - 1).sum()), _ratio((n * (s - 1)).sum(), (s - 1).sum())),
        rest=Square(sums[2], columns * int(((n - 1) * (s - 1)).sum()), 1.0),
        noise_of_folds=(
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


def training_weight(patients: Sequence[float], seeds: Sequence[int]) -> float:
    """How much of one training's variance the spread between the patients' means does not show already.

    With one fold all of it, shared out to the seeds; with one patient per fold nothing: there every patient has
    trainings of its own.
    """
    n = float(sum(patients))
    share, s = np.asarray(patients) / n, np.asarray(seeds)
    seen = float((share / s * (1 - share)).sum()) / (n - 1)
    return max(0.0, float((share**2 / s).sum()) - seen)


def interval_over_trainings(tables: Sequence[NDArray[np.float64]], centre: float) -> Interval | None:
    """95 % interval of a mean for new patients and new trainings, from tables (patients, seeds), one per fold.

    Student's t with the variance of the patients' means plus what the trainings add, degrees of freedom after
    Satterthwaite (1946). Added is never less than nothing. None where one seed leaves the trainings' luck unknown.
    """
    from scipy import stats

    means = np.concatenate([table.mean(axis=1) for table in tables]) if tables else np.zeros(0)
    n = len(means)
    if n < 2:
        return None
    among_patients = float(means.var(ddof=1)) / n
    weight = training_weight([len(table) for table in tables], [table.shape[1] for table in tables])
    layout = anova([table[None] for table in tables])
    if weight > 1e-9 and layout.training_variance is None:
        return None
    added = weight * max(0.0, layout.training_variance or 0.0)
    variance = among_patients + added
    uncertainty = among_patients**2 / (n - 1)
    if added > 0:
        scale = weight / layout.training.factor
        for square in (layout.training, layout.rest):
            uncertainty += (scale * square.mean) ** 2 / square.freedom
    if variance == 0:
        return Interval(centre, centre)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, max(1.0, variance**2 / uncertainty)) * np.sqrt(variance))
    return Interval(centre - half, centre + half)
