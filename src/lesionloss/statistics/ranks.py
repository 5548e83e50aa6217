"""The ranks of the losses, with intervals that hold for all of them at once.

A loss can't be better than rank 1 + the number of losses that are shown to be better than it, and not worse than the
number of losses less those that it is shown to be better than (Mohamad, Goeman, van Zwet 2019). "Shown" is by the p of
a verdict, with Holm's correction over all pairs of losses, because a rank compares every loss with every other one.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.complete_blocks import LossBlocks, loss_blocks
from lesionloss.statistics.evidence import ALPHA, holm, sign_flip_ps
from lesionloss.statistics.new_training_runs import fold_ps, fold_spread
from lesionloss.statistics.paired_differences import TESTS
from lesionloss.statistics.pairs import ROUNDING, repeat_of
from lesionloss.statistics.verdicts import FREEDOM_FOR_A_VERDICT, SEEDS_FOR_A_VERDICT


@dataclass(frozen=True)
class LossRank:
    """One trained loss: its rank by `mean` (1 is best) over the `patients` that have complete scores of all losses.

    With 95 % probability, the true ranks of all losses lie from `low` to `high`. Without a verdict (one seed, an
    unfinished run) nothing is known of them: 1 to the number of losses.
    """

    loss: str
    mean: float
    rank: int
    low: int
    high: int
    patients: int


def rank_losses(scores: MetricScores, level: float = ALPHA) -> tuple[LossRank, ...]:
    """Rank the trained losses by their means.

    Args:
        scores: What `Results.metric_scores` gives.
        level: The probability that any of the intervals is wrong.

    Returns:
        One rank per loss, in the plan's order; empty for fewer than two losses or patients with complete scores, and
        for a metric of which no value is better.
    """
    if not scores.facts.has_direction:
        return ()
    found = loss_blocks(scores, trained_only=True)
    if len(found.losses) < 2 or found.patients < 2:
        return ()
    values = patients_of_losses(found)
    sign = -1.0 if scores.facts.lower_is_better else 1.0
    means = values.mean(axis=1)
    places = _ranks(sign * means)
    better = _shown_better(scores, found, sign, level)
    return tuple(
        LossRank(
            loss=loss,
            mean=float(means[index]),
            rank=int(places[index]),
            low=1 + int(better[:, index].sum()),
            high=len(found.losses) - int(better[index].sum()),
            patients=found.patients,
        )
        for index, loss in enumerate(found.losses)
    )


def patients_of_losses(found: LossBlocks) -> NDArray[np.float64]:
    """Values (losses, patients): means over seeds, then over repeats."""
    by_patient: dict[str, list[NDArray[np.float64]]] = {}
    for block in found.blocks:
        for patient, column in zip(block.patients, block.values.mean(axis=2).T, strict=True):
            by_patient.setdefault(patient, []).append(column)
    return np.stack([np.mean(columns, axis=0) for columns in by_patient.values()], axis=1)


def _shown_better(scores: MetricScores, found: LossBlocks, sign: float, level: float) -> NDArray[np.bool_]:
    """Whether the loss of a row is shown to be better than that of a column."""
    count = len(found.losses)
    better = np.zeros((count, count), dtype=bool)
    for one, other, difference, p in corrected_pairs(scores, found, level):
        if p is not None and p < level and difference != 0:
            better[(one, other) if sign * difference > 0 else (other, one)] = True
    return better


def corrected_pairs(
    scores: MetricScores, found: LossBlocks, level: float = ALPHA
) -> list[tuple[int, int, float, float | None]]:
    """For every pair of losses: both places, the mean difference, and the p of a verdict, corrected for all pairs.

    p is None where there can be no verdict: one seed, two folds, an unfinished run, a fold without trials.
    """
    count, rules = len(found.losses), scores.rules
    seeds = min(len(block.seeds) for block in found.blocks)
    lost = {trial.fold for trial in scores.failed} - {block.fold for block in found.blocks}
    first, second = np.array(list(combinations(range(count), 2))).T

    def differences(values: NDArray[np.float64]) -> NDArray[np.float64]:
        both = values[first] - values[second]
        return np.where(np.abs(both) <= ROUNDING * np.abs(values[first]), 0.0, both)

    repeats: dict[int, list[NDArray[np.float64]]] = {}
    for block in found.blocks:
        repeat = repeat_of(block.fold, rules.folds, rules.repeats)
        repeats.setdefault(repeat, []).append(differences(block.values.mean(axis=2)))
    pairs, spread = differences(patients_of_losses(found)), fold_spread(list(repeats.values()))
    means, corrected = pairs.mean(axis=1), dict[str, float | None]()
    none = (scores.missing and level == ALPHA) or lost or seeds < SEEDS_FOR_A_VERDICT
    if not none and spread.freedom >= FREEDOM_FOR_A_VERDICT:
        ps = np.maximum(fold_ps(means, spread), _patient_ps(pairs, scores.test))
        corrected = holm({str(pair): float(p) for pair, p in enumerate(ps)}, rules.losses * (rules.losses - 1) // 2)
    return [
        (int(one), int(other), float(means[pair]), corrected.get(str(pair)))
        for pair, (one, other) in enumerate(zip(first, second, strict=True))
    ]


def _patient_ps(pairs: NDArray[np.float64], test: str) -> NDArray[np.float64]:
    if test == "sign_flip":
        return sign_flip_ps(pairs)
    return np.array([1.0 if (p := TESTS[test](values)) is None else p for values in pairs])


def _ranks(means: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ranks (losses,) of means (losses,), the highest first; equal means share the better rank."""
    from scipy import stats

    return np.asarray(stats.rankdata(-means.round(12), method="min"), dtype=np.int64)


def best_loss(ranks: tuple[LossRank, ...]) -> str | None:
    """The loss that is shown to be better than every other loss; usually there is none."""
    return next((rank.loss for rank in ranks if rank.low == rank.high == 1), None)
