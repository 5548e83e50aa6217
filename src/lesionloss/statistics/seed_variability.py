"""How often another seed gives another best loss."""

from dataclasses import dataclass

import numpy as np

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import loss_blocks

RERUNS = 4000


@dataclass(frozen=True)
class SeedVariability:
    """Runs with one seed each, drawn from the training runs there are, on the same patients.

    `winner_changes` is the share of pairs of such runs, without a common training run, whose best losses differ;
    `winners` is how often each loss is best; `seeds` is the smallest number of seeds that a fold has.
    """

    winner_changes: float
    winners: tuple[tuple[str, float], ...]
    seeds: int
    patients: int


def measure_seed_variability(scores: MetricScores) -> SeedVariability | None:
    """Draw pairs of runs with one seed each and compare their best losses.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        The seed-to-seed variability; None for fewer than two trained losses, or if a fold has only one complete seed.
    """
    if not scores.facts.has_direction:
        return None
    found = loss_blocks(scores, trained_only=True)
    seeds = min((len(block.seeds) for block in found.blocks), default=0)
    if len(found.losses) < 2 or seeds < 2:
        return None
    generator = numpy_generator("reruns", scores.metric)
    sign = -1.0 if scores.facts.lower_is_better else 1.0
    sums = np.zeros((2, RERUNS, len(found.losses)))
    for block in found.blocks:
        by_seed = sign * block.values.sum(axis=1)  # losses, seeds
        order = generator.permuted(np.tile(np.arange(len(block.seeds)), (RERUNS, 1)), axis=1)
        for run in (0, 1):
            sums[run] += by_seed[:, order[:, run]].T
    first, again = sums.round(12).argmax(axis=2)
    wins = np.bincount(np.concatenate([first, again]), minlength=len(found.losses)) / (2 * RERUNS)
    return SeedVariability(
        winner_changes=float((first != again).mean()),
        winners=tuple((loss, float(share)) for loss, share in zip(found.losses, wins, strict=True)),
        seeds=seeds,
        patients=found.patients,
    )
