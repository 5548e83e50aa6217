"""Arithmetic of evidence on plain arrays with one value per patient: interval, tests, effect size, correction.

The interval of a mean inverts the sign-flip test, so interval and test cannot contradict each other. Its bounds are
order statistics of the means of all subsets of the patients (Hartigan, "Using subsample values as typical values",
JASA 1969): coverage is exact if values lie symmetrically around their centre, as differences between two equally
good losses do. docs/explanation/statistics.md has the measured coverage of this and of five other methods.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator

CONFIDENCE = 0.95
ALPHA = 0.05
EXACT_UP_TO = 13  # 8192 patterns of signs
PATTERNS = 10_000  # beyond, drawn once for each number of patients


@dataclass(frozen=True)
class Interval:
    """Two bounds; low <= high."""

    low: float
    high: float


def mean(values: NDArray[np.float64]) -> float | None:
    """The mean of (n,) values; None if there are none."""
    return float(values.mean()) if len(values) else None


def quartiles(values: NDArray[np.float64]) -> Interval | None:
    """The middle half of (n,) values; None if there are none."""
    return Interval(*(float(bound) for bound in np.quantile(values, [0.25, 0.75]))) if len(values) else None


def coefficient_of_variation(values: NDArray[np.float64]) -> float | None:
    """Standard deviation (n - 1) of (n,) values, divided by their mean; None for fewer than two or a mean of 0."""
    if len(values) < 2 or values.mean() == 0:
        return None
    return float(values.std(ddof=1) / abs(values.mean()))


def mean_interval(values: NDArray[np.float64], level: float = ALPHA) -> Interval | None:
    """The interval (95 % if level is .05) of the mean of (n,) values, one per patient; None for fewer than two.

    The sign-flip test inverted. Where no pattern of signs is rare enough (95 %: 2 to 5 patients), Student's t, which
    assumes a normal distribution. The number of patients and the level decide, never the values.
    """
    n = len(values)
    if n < 2:
        return None
    if attained_level(n, level) == 0:
        return _t_interval(values, level)
    low, high = sign_flip_bounds(values[None], level)
    return Interval(float(low[0]), float(high[0]))


def _t_interval(values: NDArray[np.float64], level: float) -> Interval:
    from scipy import stats

    n = len(values)
    half = float(stats.t.ppf(1 - level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def share_interval(count: int, n: int) -> Interval | None:
    """95 % interval of a share, `count` of `n` (Clopper and Pearson 1934); None if n is 0."""
    from scipy import stats

    if n == 0:
        return None
    found = stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="exact")
    return Interval(float(found.low), float(found.high))


def sign_flip_bounds(
    samples: NDArray[np.float64], level: float = ALPHA
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds (runs,) of the intervals of the means of samples (runs, n); n is at least 6 for a level of .05."""
    n, total = samples.shape[1], samples.sum(axis=1, keepdims=True)
    sums, sizes = _subset_sums(samples), _subsets(n).sum(axis=1)
    means = np.concatenate([sums / sizes, (total - sums) / (n - sizes)], axis=1)
    outside = _rejecting(means.shape[1], level)
    means = np.partition(means, [outside - 1, means.shape[1] - outside], axis=1)
    return means[:, outside - 1], means[:, means.shape[1] - outside]


def sign_flip_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided p of the test of the mean of (n,) differences under random signs; None for fewer than two.

    Exact up to 13 differences; beyond, 10,000 patterns of signs that depend on n alone, the observed one counted.
    """
    return float(sign_flip_ps(differences[None])[0]) if len(differences) > 1 else None


def sign_flip_ps(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sign_flip_p` of each row of samples (runs, n): p values (runs,)."""
    total = samples.sum(axis=1)
    sums = np.abs(total[:, None] - 2 * _subset_sums(samples))  # a pattern and its complement give the same
    rounding = 1e-9 * np.abs(samples).sum(axis=1)
    as_large = 2 * (sums >= (np.abs(total) - rounding)[:, None]).sum(axis=1)
    return np.asarray((as_large + 2) / (2 * sums.shape[1] + 2), dtype=np.float64)


def _subset_sums(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (runs, patterns) over the flipped values of each pattern, of which few are held as floats at once."""
    patterns = _subsets(samples.shape[1])
    parts = [samples @ patterns[first : first + 500].T.astype(np.float64) for first in range(0, len(patterns), 500)]
    return np.concatenate([np.zeros((len(samples), 0)), *parts], axis=1)


@lru_cache(maxsize=8)
def _subsets(n: int) -> NDArray[np.int8]:
    """Which of n signs are flipped (patterns, n), neither none nor all; the complements are patterns, too."""
    if n <= EXACT_UP_TO:
        half = ((np.arange(1, 2 ** (n - 1))[:, None] >> np.arange(n)) & 1).astype(np.int8)
    else:
        drawn = numpy_generator("sign flips", n).integers(0, 2, size=(PATTERNS // 2, n)).astype(np.int8)
        half = drawn[(drawn.sum(axis=1, dtype=np.int64) % n) > 0]
    half.flags.writeable = False
    return half


def _rejecting(patterns: int, alpha: float) -> int:
    """How many patterns on each side, including the observed one, leave p below alpha."""
    return int(np.ceil(alpha * (patterns + 2) / 2)) - 1


def attained_level(patients: int, alpha: float = ALPHA) -> float:
    """The largest two-sided p below alpha that a sign-flip test of so many patients can give; 0 if there is none."""
    patterns = 2**patients - 2 if patients <= EXACT_UP_TO else PATTERNS
    return 2 * max(0, _rejecting(patterns, alpha)) / (patterns + 2)


def signed_rank_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided signed-rank p (Wilcoxon 1945) of (n,) differences; 1 where all are 0, None for fewer than two.

    Zeros are dropped, as Wilcoxon did. Exact up to 50 differences without ties and 13 with ties, normal beyond.
    """
    from scipy import stats

    if len(differences) < 2:
        return None
    differences = differences[differences != 0]
    if len(differences) < 2:
        return 1.0
    ranks = stats.rankdata(np.abs(differences))
    if len(np.unique(ranks)) < len(ranks) <= EXACT_UP_TO:
        return sign_flip_p(np.sign(differences) * ranks)
    return float(stats.wilcoxon(differences, alternative="two-sided").pvalue)


def rank_sum_p(values: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    """Two-sided p of the unpaired rank-sum test; None if one side has fewer than two values.

    For comparison with tables that used it (the DSC++ paper); on the same patients it ignores the pairing.
    """
    from scipy import stats

    if min(len(values), len(others)) < 2:
        return None
    return float(stats.mannwhitneyu(values, others, alternative="two-sided").pvalue)


def rank_biserial(differences: NDArray[np.float64]) -> float | None:
    """Matched rank-biserial correlation (Kerby 2014): from -1 (all differences negative) to 1 (all positive).

    The share of the ranks of positive differences minus that of negative ones; None if there are none. Zeros keep their
    ranks, as Pratt proposed (1959), and count for neither side: otherwise one patient who differs among many equal
    ones would give 1.
    """
    from scipy import stats

    if len(differences) == 0:
        return None
    ranks = stats.rankdata(np.abs(differences))
    return float((np.sign(differences) * ranks).sum() / ranks.sum())


def smallest_p(patients: int) -> float:
    """The smallest p that a two-sided test of signs or signed ranks can give: all differences on one side."""
    return min(1.0, 2.0 ** (1 - patients))


def bonferroni(ps: Mapping[str, float | None], planned: int = 0) -> dict[str, float | None]:
    """Correction over all p values, of `planned` ones if there are more; None stays None."""
    family = max(planned, sum(p is not None for p in ps.values()))
    return {name: None if p is None else min(1.0, p * family) for name, p in ps.items()}


def holm(ps: Mapping[str, float | None], planned: int = 0) -> dict[str, float | None]:
    """Step-down correction (Holm 1979) over all p values, of `planned` ones if there are more; None stays None."""
    tested = sorted((p, name) for name, p in ps.items() if p is not None)
    family = max(planned, len(tested))
    corrected: dict[str, float | None] = dict.fromkeys(ps)
    largest = 0.0
    for rank, (p, name) in enumerate(tested):
        largest = max(largest, min(1.0, p * (family - rank)))
        corrected[name] = largest
    return corrected
