"""Arithmetic of evidence on plain arrays with one value per patient: intervals, a test, a correction.

Intervals are bootstrap percentiles, widened for small samples as Hesterberg proposes ("What Teachers Should Know About
the Bootstrap", The American Statistician 2015): plain percentiles are too short by the factor between a normal and a
t quantile. The test is the two-sided Wilcoxon signed-rank test (Wilcoxon 1945), the correction that of Holm (1979).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 9999
CONFIDENCE = 0.95
ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """Two bounds; low <= high."""

    low: float
    high: float


def mean(values: NDArray[np.float64]) -> float | None:
    """The mean of (n,) values; None of none."""
    return float(values.mean()) if len(values) else None


def quartiles(values: NDArray[np.float64]) -> Interval | None:
    """The middle half of (n,) values; None of none."""
    return Interval(*(float(bound) for bound in np.quantile(values, [0.25, 0.75]))) if len(values) else None


def bootstrap_interval(values: NDArray[np.float64], generator: np.random.Generator) -> Interval | None:
    """95 % interval of the mean of (n,) values, one per patient; None for fewer than two.

    Measured coverage for values in [0, 1]: 75 % with 3 patients, 92 % with 5, 93 to 95 % with 8 and more.
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        return None
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]))
    result = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=generator)
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail])
    return Interval(float(low), float(high))


def signed_rank_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided signed-rank p of (n,) paired differences; 1 where all are 0, None for fewer than two."""
    from scipy import stats

    if len(differences) < 2:
        return None
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences, alternative="two-sided").pvalue)


def smallest_p(patients: int) -> float:
    """The smallest p that a two-sided signed-rank test can give: all differences on one side."""
    return min(1.0, 2.0 ** (1 - patients))


def holm(ps: Mapping[str, float | None]) -> dict[str, float | None]:
    """Step-down correction over all that were tested (None stays None)."""
    tested = sorted((p, name) for name, p in ps.items() if p is not None)
    corrected: dict[str, float | None] = dict.fromkeys(ps)
    largest = 0.0
    for rank, (p, name) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        corrected[name] = largest
    return corrected
