"""The rank of every loss, and how it scatters when patients and seeds are drawn again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.results import Results
from lesionloss.runs.values import facts
from lesionloss.statistics.complete_blocks import Block, column_means
from lesionloss.statistics.loss_blocks import world

RESAMPLES = 4000


@dataclass(frozen=True)
class Rank:
    """One loss: its rank by mean (1 is best) over `patients` patients with complete scores.

    `low` and `high` hold the middle 95 % of its ranks in the bootstrap over patients and seeds; `best` is the share in
    which it came first (ties shared out); `shares[k]` is the share of rank k + 1. A description of stability, not a
    test: with few patients or seeds the bootstrap scatters too little.
    """

    loss: str
    rank: int
    low: int
    high: int
    best: float
    shares: tuple[float, ...]
    patients: int


def ranks(results: Results, metric: str) -> tuple[Rank, ...]:
    """In the plan's order; empty for fewer than two losses, without complete scores, or where nothing is better."""
    if not facts(metric).judges:
        return ()
    found = world(results, metric, networks_only=False)
    if len(found.losses) < 2 or found.patients < 2:
        return ()
    sign = -1.0 if facts(metric).lower_is_better else 1.0
    generator = numpy_generator("bootstrap", "ranks", metric)
    observed = _ranks(sign * column_means(found.blocks)[None])[0]
    drawn = sign * resampled_means(found.blocks, RESAMPLES, generator)
    places = _ranks(drawn)
    first = np.isclose(drawn, drawn.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(places, [0.025, 0.975], axis=0, method="nearest")
    return tuple(
        Rank(
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


def resampled_means(blocks: tuple[Block, ...], resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Means (resamples, columns) after drawing patients, and in every fold its seeds, with replacement.

    All losses meet the same drawn patients and seeds: they stay pairs.
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
