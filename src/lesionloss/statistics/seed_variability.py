"""How often another seed gives another best loss."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import FoldBlock, loss_blocks
from lesionloss.statistics.evidence import CONFIDENCE, Interval

RERUNS = 4000
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class SeedVariability:
    """Runs with one seed each, drawn from the training runs there are, on the same patients and folds.

    `winner_changes` is the share of pairs of such runs, without a common training run, whose best losses differ;
    `interval` is its 95 % interval. `winners` is how often
    each loss is best; `seeds` is the smallest number of seeds that a fold has.
    """

    winner_changes: float
    interval: Interval
    winners: tuple[tuple[str, float], ...]
    seeds: int
    patients: int


def measure_seed_variability(scores: MetricScores) -> SeedVariability | None:
    """Draw pairs of runs with one seed each and compare their best losses.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        The seed-to-seed variability; None for fewer than two trained losses, or if a fold has fewer than three seeds.
    """
    if not scores.facts.has_direction:
        return None
    found = loss_blocks(scores, trained_only=True)
    seeds = min((len(block.seeds) for block in found.blocks), default=0)
    if len(found.losses) < 2 or seeds < FEWEST_SEEDS:
        return None
    sign = -1.0 if scores.facts.lower_is_better else 1.0
    first, again = best_of_reruns(found.blocks, sign, numpy_generator("reruns", scores.metric))
    wins = np.bincount(np.concatenate([first, again]), minlength=len(found.losses)) / (2 * RERUNS)
    changes = float((first != again).mean())
    return SeedVariability(
        winner_changes=changes,
        interval=changes_interval(changes, seeds),
        winners=tuple((loss, float(share)) for loss, share in zip(found.losses, wins, strict=True)),
        seeds=seeds,
        patients=found.patients,
    )


def best_of_reruns(
    blocks: tuple[FoldBlock, ...], sign: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best loss of each of two runs with one seed each (4,000 times), drawn without a common training run."""
    sums = np.zeros((2, RERUNS, blocks[0].values.shape[0]))
    for block in blocks:
        by_seed = sign * block.values.sum(axis=1)  # losses, seeds
        order = generator.permuted(np.tile(np.arange(len(block.seeds)), (RERUNS, 1)), axis=1)
        for run in (0, 1):
            sums[run] += by_seed[:, order[:, run]].T
    first, again = sums.round(12).argmax(axis=2)
    return first, again


def changes_interval(share: float, seeds: int) -> Interval:
    """95 % interval of the share of pairs of runs: Clopper and Pearson's, as of the pairs that the seeds can form.

    Pairs that share a run are not independent: they count as twice as many as there are seeds, at most.
    """
    from scipy import stats

    pairs, tail = min(seeds * (seeds - 1) / 2, 2 * seeds), (1 - CONFIDENCE) / 2
    count = share * pairs
    low = float(stats.beta.ppf(tail, count, pairs - count + 1)) if count > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, count + 1, pairs - count)) if count < pairs else 1.0
    return Interval(low, high)
