"""Several runs, such as one per data set: the mean of their differences, and the Friedman test on their ranks.

The mean is that of a random-effects model: the differences of the runs vary around it, by more than their own errors.
Between-run variance by DerSimonian and Laird (1986), interval by Hartung and Knapp (2001), never narrower than without
their correction. Ranks: Friedman's test in the form of Iman and Davenport (1980), critical difference of Nemenyi, both
after Demsar (2006).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lesionloss.statistics.comparison import Comparison
from lesionloss.statistics.evidence import ALPHA, Interval, holm
from lesionloss.statistics.verdicts import NETWORKS_ONLY

FEWEST_LOSSES = 3


@dataclass(frozen=True)
class PooledDifference:
    """A loss minus the baseline over the `runs` that have an error: mean, 95 % interval, sd between runs, p (Holm)."""

    loss: str
    runs: int
    mean: float
    interval: Interval
    between: float
    p: float
    p_holm: float | None


@dataclass(frozen=True)
class RunRanks:
    """Mean ranks of the losses over the runs; p of Friedman's test, and the difference of mean ranks that counts."""

    losses: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    p: float
    critical_difference: float


@dataclass(frozen=True)
class AcrossRuns:
    """What several runs show together in one metric, with the same baseline; `ranks`: None for two losses."""

    metric: str
    baseline: str
    runs: int
    differences: tuple[PooledDifference, ...]
    ranks: RunRanks | None


def across_runs(comparisons: Sequence[Comparison]) -> AcrossRuns | None:
    """Pool the comparisons of one metric, one per run; None for fewer than two runs, or another baseline in one."""
    first = comparisons[0]
    if len(comparisons) < 2 or any(c.baseline != first.baseline for c in comparisons) or not first.ranks:
        return None
    pooled = [found for d in first.differences if (found := _pooled(comparisons, d.loss)) is not None]
    corrected = holm({each.loss: each.p for each in pooled})
    differences = tuple(replace(each, p_holm=corrected[each.loss]) for each in pooled)
    return AcrossRuns(first.metric, first.baseline, len(comparisons), differences, _ranks(comparisons))


def _pooled(comparisons: Sequence[Comparison], loss: str) -> PooledDifference | None:
    from scipy import stats

    found = [d for c in comparisons for d in c.differences if d.loss == loss and d.unanswered not in NETWORKS_ONLY]
    known = [(d.mean, d.error) for d in found if d.mean is not None and d.error]
    if len(known) < 2:
        return None
    means, errors = np.array(known, dtype=np.float64).T
    mean, error, between = random_effects(means, errors)
    freedom = len(known) - 1
    half = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error
    return PooledDifference(
        loss=loss,
        runs=len(known),
        mean=mean,
        interval=Interval(mean - half, mean + half),
        between=between**0.5,
        p=float(2 * stats.t.sf(abs(mean) / error, freedom)),
        p_holm=None,
    )


def random_effects(means: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, standard error and between-run variance of the means (runs,) with standard errors (runs,)."""
    weights = errors**-2
    fixed = (weights * means).sum() / weights.sum()
    excess = (weights * (means - fixed) ** 2).sum() - (len(means) - 1)
    between = max(0.0, float(excess / (weights.sum() - (weights**2).sum() / weights.sum())))
    weights = 1 / (errors**2 + between)
    mean = float((weights * means).sum() / weights.sum())
    spread = (weights * (means - mean) ** 2).sum() / (len(means) - 1)
    return mean, float((max(1.0, float(spread)) / weights.sum()) ** 0.5), between


def _ranks(comparisons: Sequence[Comparison]) -> RunRanks | None:
    """Ranks by mean of the losses that every run has."""
    from scipy import stats

    means = [{rank.loss: rank.mean for rank in c.ranks} for c in comparisons]
    losses = tuple(loss for loss in means[0] if all(loss in each for each in means))
    if len(losses) < FEWEST_LOSSES:
        return None
    sign = 1.0 if comparisons[0].lower_is_better else -1.0
    table = np.array([[round(sign * each[loss], 12) for loss in losses] for each in means])
    mean_ranks = stats.rankdata(table, axis=1).mean(axis=0)
    count, runs = len(losses), len(comparisons)
    chi = float(stats.friedmanchisquare(*table.T).statistic)
    left = runs * (count - 1) - chi
    f = (runs - 1) * chi / left if left > 1e-9 else np.inf
    p = float(stats.f.sf(f, count - 1, (count - 1) * (runs - 1))) if np.isfinite(chi) else 1.0
    width = float(stats.studentized_range.ppf(1 - ALPHA, count, np.inf)) / 2**0.5
    critical = width * (count * (count + 1) / (6 * runs)) ** 0.5
    return RunRanks(losses, tuple(map(float, mean_ranks)), p, critical)
