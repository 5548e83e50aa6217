"""The ranks of the losses, and their spread when patients and seeds are drawn again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import FoldBlock, column_means, loss_blocks

RESAMPLES = 4000


@dataclass(frozen=True)
class LossRank:
    """One loss: its rank by mean (1 is best) over `patients` patients with complete scores.

    `low` and `high` hold the middle 95 % of its ranks in the bootstrap over patients and seeds; `best` is the share in
    which it ranked first (ties are shared); `shares[k]` is the share of rank k + 1. The bootstrap describes stability
    and is not a test: with few patients or seeds its spread is too small.
    """

    loss: str
    rank: int
    low: int
    high: int
    best: float
    shares: tuple[float, ...]
    patients: int


def rank_losses(scores: MetricScores) -> tuple[LossRank, ...]:
    """Rank the losses by their means.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        One rank per loss, in the plan's order; empty for fewer than two losses or patients with complete scores, and
        for a metric of which no value is better.
    """
    if not scores.facts.has_direction:
        return ()
    found = loss_blocks(scores, trained_only=False)
    if len(found.losses) < 2 or found.patients < 2:
        return ()
    sign = -1.0 if scores.facts.lower_is_better else 1.0
    generator = numpy_generator("bootstrap", "ranks", scores.metric)
    observed = _ranks(sign * column_means(found.blocks)[None])[0]
    drawn = sign * resampled_means(found.blocks, RESAMPLES, generator)
    places = _ranks(drawn)
    first = np.isclose(drawn, drawn.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(places, [0.025, 0.975], axis=0, method="nearest")
    return tuple(
        LossRank(
            loss=loss,
            rank=int(observed[index]),
            low=int(low[index]),
            high=int(high[index]),
            best=float(best[index]),
            shares=tuple(float((places[:, index] == place + 1).mean()) for place in range(len(found.losses))),
            patients=found.patients,
        )
        for index, loss in enumerate(found.losses)
    )


def resampled_means(
    blocks: tuple[FoldBlock, ...], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Means (resamples, columns) after drawing patients, and in every fold its seeds, with replacement.

    All losses get the same drawn patients and seeds, so they stay paired.
    """
    patients = sum(len(block.patients) for block in blocks)
    taken = generator.multinomial(patients, [1 / patients] * patients, resamples) / patients
    total = np.zeros((resamples, blocks[0].values.shape[0]))
    start = 0
    for block in blocks:
        columns, n, seeds = block.values.shape
        weights = generator.multinomial(seeds, [1 / seeds] * seeds, resamples) / seeds
        by_patient = taken[:, start : start + n] @ block.values.transpose(1, 0, 2).reshape(n, columns * seeds)
        total += (by_patient.reshape(resamples, columns, seeds) * weights[:, None, :]).sum(axis=2)
        start += n
    return total


def _ranks(means: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ranks (runs, columns) of means (runs, columns), the highest first; equal means share the better rank."""
    from scipy import stats

    return np.asarray(stats.rankdata(-means.round(12), method="min", axis=1), dtype=np.int64)
