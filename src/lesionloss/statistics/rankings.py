"""Other views of the losses of a metric, beside verdicts: they describe, and decide nothing.

Ranks of each patient, averaged (rank, then aggregate; Demsar 2006), beside ranks of the means (aggregate, then rank);
the interquartile mean and performance profiles (Agarwal et al. 2021); and which losses are not shown to differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import LossBlocks, loss_blocks
from lesionloss.statistics.evidence import ALPHA, Interval
from lesionloss.statistics.ranks import corrected_pairs, patients_of_losses

RESAMPLES = 2000
GRID = 101
FEWEST_LOSSES = 3


@dataclass(frozen=True)
class RankedLoss:
    """One loss over the patients with complete scores of all losses.

    `rank` is that of the `mean`; `mean_rank` is the mean of the patients' ranks and `rank_of_ranks` its rank.
    `middle` is the interquartile mean, with its interval (95 %, patients drawn anew within their folds).
    """

    loss: str
    mean: float
    rank: int
    mean_rank: float
    rank_of_ranks: int
    middle: float
    middle_interval: Interval


@dataclass(frozen=True)
class LossPair:
    """Two losses: the mean of `loss` minus that of `other`, and p, corrected for all pairs; None without verdicts."""

    loss: str
    other: str
    difference: float
    p: float | None
    verdict: str


@dataclass(frozen=True, eq=False)
class Rankings:
    """All views of one metric.

    `tau` is Kendall's between both orders, 1 if they agree. `groups` are the losses, neighbours by mean rank, none of
    which is shown to differ from another one. `profiles` (losses, thresholds) are the shares of patients that reach a
    threshold, or stay below it if lower values are better.
    """

    metric: str
    patients: int
    losses: tuple[RankedLoss, ...]
    tau: float | None
    pairs: tuple[LossPair, ...]
    groups: tuple[tuple[str, ...], ...]
    thresholds: NDArray[np.float64]
    profiles: NDArray[np.float64]

    @property
    def by_mean_rank(self) -> list[RankedLoss]:
        """The losses from the best mean rank to the worst."""
        return sorted(self.losses, key=lambda each: each.mean_rank)


def rankings(scores: MetricScores, level: float = ALPHA) -> Rankings | None:
    """All views of a metric; None for fewer than three losses or two patients, or if no value is better."""
    from scipy import stats

    found = loss_blocks(scores, trained_only=True)
    if not scores.facts.has_direction or len(found.losses) < FEWEST_LOSSES or found.patients < 2:
        return None
    sign = -1.0 if scores.facts.lower_is_better else 1.0
    values = patients_of_losses(found)
    gains = sign * values.round(12)
    mean_ranks = stats.rankdata(-gains, axis=0).mean(axis=1)
    means = values.mean(axis=1)
    ranks, of_ranks = (stats.rankdata(each.round(9), method="min") for each in (-sign * means, mean_ranks))
    intervals = _middle_intervals(found)
    thresholds = np.linspace(values.min(), values.max(), GRID)
    reached = gains[:, :, None] >= (sign * thresholds).round(12)
    tau = float(stats.kendalltau(means * -sign, mean_ranks).statistic)
    pairs = _pairs(scores, found, level)
    return Rankings(
        metric=scores.metric,
        patients=found.patients,
        losses=tuple(
            RankedLoss(
                loss=loss,
                mean=float(means[n]),
                rank=int(ranks[n]),
                mean_rank=float(mean_ranks[n]),
                rank_of_ranks=int(of_ranks[n]),
                middle=float(middle_mean(values[n])),
                middle_interval=intervals[n],
            )
            for n, loss in enumerate(found.losses)
        ),
        tau=tau if np.isfinite(tau) else None,
        pairs=pairs,
        groups=_groups([found.losses[n] for n in np.argsort(mean_ranks, kind="stable")], pairs),
        thresholds=thresholds,
        profiles=reached.mean(axis=1),
    )


def middle_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the middle half along the last axis: a quarter of the values, rounded down, is cut at each end."""
    cut = values.shape[-1] // 4
    middle: NDArray[np.float64] = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return middle


def _middle_intervals(found: LossBlocks) -> list[Interval]:
    """95 % percentile intervals: the patients of every fold (of the first repeat of each) are drawn anew, together."""
    draw, seen, strata = numpy_generator("stratified bootstrap", len(found.losses), found.patients), set[str](), []
    for block in found.blocks:
        new = [n for n, patient in enumerate(block.patients) if patient not in seen]
        seen |= set(block.patients)
        if new:
            strata.append(block.values.mean(axis=2)[:, new])
    drawn = [part[:, draw.integers(0, part.shape[1], size=(RESAMPLES, part.shape[1]))] for part in strata]
    bounds = np.quantile(middle_mean(np.concatenate(drawn, axis=2)), [0.025, 0.975], axis=1)
    return [Interval(float(low), float(high)) for low, high in bounds.T]


def _pairs(scores: MetricScores, found: LossBlocks, level: float) -> tuple[LossPair, ...]:
    pairs = []
    for one, other, difference, p in corrected_pairs(scores, found, level):
        better = (difference < 0) == scores.facts.lower_is_better
        shown = p is not None and p < level and difference != 0
        verdict = "no verdict" if p is None else "undecided" if not shown else "better" if better else "worse"
        pairs.append(LossPair(found.losses[one], found.losses[other], difference, p, verdict))
    return tuple(pairs)


def _groups(ordered: Sequence[str], pairs: Sequence[LossPair]) -> tuple[tuple[str, ...], ...]:
    """The longest runs of neighbours in which no pair is shown to differ, of two losses or more."""
    differ = {frozenset((pair.loss, pair.other)) for pair in pairs if pair.verdict in ("better", "worse")}
    groups: list[tuple[str, ...]] = []
    end = 0
    for first in range(len(ordered)):
        last = first
        while last + 1 < len(ordered) and not any(
            frozenset((ordered[last + 1], ordered[n])) in differ for n in range(first, last + 1)
        ):
            last += 1
        if last > first and last + 1 > end:
            groups.append(tuple(ordered[first : last + 1]))
            end = last + 1
    return tuple(groups)
