"""How often another seed crowns another loss."""

from dataclasses import dataclass

import numpy as np

from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.results import Results
from lesionloss.runs.values import facts
from lesionloss.statistics.loss_blocks import world

RERUNS = 4000


@dataclass(frozen=True)
class Luck:
    """Runs with one seed, drawn from the trainings there are, on the same patients.

    `change` is the share of pairs of such runs, without a training in common, that crown different losses;
    `winners` is how often each loss wins a run; `seeds` is the smallest number of seeds that a fold has.
    """

    change: float
    winners: tuple[tuple[str, float], ...]
    seeds: int
    patients: int


def luck_of_the_seed(results: Results, metric: str) -> Luck | None:
    """Resampled over seeds; None for fewer than two trained losses or where a fold has only one complete seed."""
    if not facts(metric).judges:
        return None
    found = world(results, metric, networks_only=True)
    seeds = min((len(block.seeds) for block in found.blocks), default=0)
    if len(found.losses) < 2 or seeds < 2:
        return None
    generator = numpy_generator("reruns", metric)
    sign = -1.0 if facts(metric).lower_is_better else 1.0
    sums = np.zeros((2, RERUNS, len(found.losses)))
    for block in found.blocks:
        by_seed = sign * block.values.sum(axis=1)  # losses, seeds
        order = generator.permuted(np.tile(np.arange(len(block.seeds)), (RERUNS, 1)), axis=1)
        for run in (0, 1):
            sums[run] += by_seed[:, order[:, run]].T
    first, again = sums.round(12).argmax(axis=2)
    wins = np.bincount(np.concatenate([first, again]), minlength=len(found.losses)) / (2 * RERUNS)
    return Luck(
        change=float((first != again).mean()),
        winners=tuple((loss, float(share)) for loss, share in zip(found.losses, wins, strict=True)),
        seeds=seeds,
        patients=found.patients,
    )
