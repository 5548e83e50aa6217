"""The spread of a paired difference, as a pilot run shows it, and how uncertain that is.

What a pilot knows of its spread are mean squares with few degrees of freedom. A mean square, divided by a draw of
chi-square / degrees of freedom, gives a value that the true one may have (generalised confidence intervals, Weerahandi
1993). The errors of a planned design come from such values, and the ends of a range are quantiles of these errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.anova import Anova, SumOfSquares, anova

DRAWS = 400
RANGE = (0.05, 0.95)


@dataclass(frozen=True)
class StudyDesign:
    """The number of patients, of folds of equal size, of seeds, and of repeats of the cross-validation."""

    patients: int
    folds: int
    seeds: int
    repeats: int = 1


class Spread(Protocol):
    """What power needs to know of a spread."""

    @property
    def complete(self) -> bool:
        """Whether the spread between seeds and between training sets is known."""

    def errors(self, design: StudyDesign) -> tuple[float, float]:
        """Squared standard errors of the mean difference: for these networks, and over new training runs."""


@dataclass(frozen=True)
class DifferenceSpread:
    """Standard deviations of a paired difference: between patients, training sets (folds), seeds, and the rest.

    `training_run` is the seed's. It and `rest` are None with one seed per fold: `patient` then contains the rest, and
    `training_set` the seed. `training_set` is None with one fold.
    """

    patient: float
    training_run: float | None
    rest: float | None
    training_set: float | None = 0.0

    @property
    def complete(self) -> bool:
        """Whether the spread between seeds and between training sets is known."""
        return None not in (self.training_run, self.rest, self.training_set)

    @property
    def variances(self) -> NDArray[np.float64]:
        """Variances (4,) in the order of the fields, 0 where unknown."""
        return np.array([(sd or 0.0) ** 2 for sd in (self.patient, self.training_run, self.rest, self.training_set)])

    def errors(self, design: StudyDesign) -> tuple[float, float]:
        """Squared standard errors of the mean difference: for these networks, and over new training runs."""
        same, new = _errors(self.variances, design)
        return float(same), float(new)


@dataclass(frozen=True, eq=False)
class PlausibleSpread:
    """Variances (4, draws) that a pilot leaves plausible, and which quantile of the errors counts.

    The estimate itself is always plausible.
    """

    draws: NDArray[np.float64]
    estimate: DifferenceSpread
    quantile: float

    @property
    def complete(self) -> bool:
        """Whether the spread between seeds and between training sets is known."""
        return self.estimate.complete

    def errors(self, design: StudyDesign) -> tuple[float, float]:
        """The quantile of both squared standard errors."""
        outer, place = min if self.quantile < 0.5 else max, int(self.quantile * DRAWS)
        drawn = (float(np.partition(each, place)[place]) for each in _errors(self.draws, design))
        same, new = (outer(pair) for pair in zip(drawn, self.estimate.errors(design), strict=True))
        return same, new


def _errors(variances: NDArray[np.float64], design: StudyDesign) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimates of a variance may be below 0; an error is not smaller than without variation of training runs."""
    patient, run, rest, training_set = variances
    n, seeds, folds = design.patients, design.seeds, design.folds
    of_one, of_fold = patient + rest / seeds, training_set + run / seeds
    least = (np.maximum(patient, 0.0) + rest / seeds) / n
    between = n / (n - 1) * (1 - 1 / folds) if n > 1 else 0.0
    same, new = (of_one + of_fold * between) / n, of_one / n + of_fold / folds
    return np.maximum(same, least), np.maximum(new, least)


def spread_of(tables: Sequence[NDArray[np.float64]]) -> DifferenceSpread:
    """From differences (patients, seeds), one table per fold; variances below 0 count as 0."""
    layout, means = _layout(tables)
    variances = _variances(layout, float(means.var(ddof=1)))
    patient, run, rest, training_set = (max(0.0, variance) for variance in variances)
    return DifferenceSpread(
        patient=float(np.sqrt(patient)),
        training_run=float(np.sqrt(run)) if layout.rest.freedom else None,
        rest=float(np.sqrt(rest)) if layout.rest.freedom else None,
        training_set=float(np.sqrt(training_set)) if layout.fold.freedom else None,
    )


def plausible_spreads(tables: Sequence[NDArray[np.float64]], repeats: int = 1) -> tuple[Spread, Spread]:
    """The ends of the 90 % range: the smallest and the largest errors that a pilot run leaves plausible.

    Args:
        tables: Differences (patients, seeds), one table per fold of every repeat.
        repeats: Repeats of the cross-validation; they share their patients, so they add no degrees of freedom.
    """
    layout, means = _layout(tables)
    draw = numpy_generator("plausible spreads", len(tables), len(means))
    seen = SumOfSquares(float(((means - means.mean()) ** 2).sum()), len(means) - 1, 1.0)
    found = []
    for _ in range(DRAWS):
        fold, patient, run, rest, of_means = (
            _plausible(squares, repeats, draw)
            for squares in (layout.fold, layout.patient, layout.training_run, layout.rest, seen)
        )
        drawn = replace(layout, fold=fold, patient=patient, training_run=run, rest=rest)
        found.append(_variances(drawn, of_means.mean))
    low, high = (PlausibleSpread(np.array(found).T, spread_of(tables), quantile) for quantile in RANGE)
    return low, high


def _plausible(squares: SumOfSquares, repeats: int, draw: np.random.Generator) -> SumOfSquares:
    if not squares.freedom:
        return squares
    freedom = max(1.0, squares.freedom / repeats)
    return replace(squares, total=squares.total * freedom / draw.chisquare(freedom))


def _layout(tables: Sequence[NDArray[np.float64]]) -> tuple[Anova, NDArray[np.float64]]:
    """The analysis of variance, and the means of the patients over seeds."""
    return anova([table[None] for table in tables]), np.concatenate([table.mean(axis=1) for table in tables])


def _variances(layout: Anova, of_means: float) -> tuple[float, float, float, float]:
    """Between patients (with one patient per fold: that of all means), seeds, the rest, training sets."""
    of_patients = of_means if layout.patient_variance is None else layout.patient_variance
    known = layout.rest_variance is not None
    runs = layout.training_run_variance if known else None
    return of_patients, runs or 0.0, layout.rest_variance or 0.0, layout.fold_variance or 0.0
