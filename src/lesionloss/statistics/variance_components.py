"""Variance components of the scores: patients, folds, seeds, losses, and their interactions.

The mixed model y = loss + fold + patient in fold + seed in fold + the same with each loss + rest is split in two: the
mean over losses, and contrasts between losses. Each is an analysis of variance with exact expectations (unbiased for
folds of any size; the same as REML if the design is balanced and no estimate is negative).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics.anova import Anova, anova
from lesionloss.statistics.complete_blocks import LossBlocks, column_means, loss_blocks
from lesionloss.statistics.pairs import ROUNDING


@dataclass(frozen=True)
class VarianceComponent:
    """One source: its standard deviation in the metric's unit and its share of the variance of a single score.

    `variance` is the unbiased estimate and may be negative, which means "too small to measure"; `sd` and `share` then
    use 0. All three are None if the design cannot separate the source from another. With one seed per fold, `patient`
    contains the rest and `fold` the seeds; with one patient per fold, `seed` contains the rest and `fold` the patients.
    `seed` is the effect of a seed on all losses alike, `loss x seed` its effect on the order of the losses.
    """

    source: str
    variance: float | None
    sd: float | None
    share: float | None
    levels: int


def estimate_components(scores: MetricScores) -> tuple[VarianceComponent, ...]:
    """Estimate the variance components of all trained losses.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        One record per source, over patients and seeds with complete scores; empty for fewer than two patients.
    """
    found = loss_blocks(scores, trained_only=True)
    return components_of(found) if found.patients > 1 else ()


def components_of(found: LossBlocks) -> tuple[VarianceComponent, ...]:
    """The variance components of complete blocks."""
    tables = [block.values for block in found.blocks]
    losses = len(found.losses)
    common = anova([table.mean(axis=0, keepdims=True) for table in tables])
    own = anova([np.tensordot(_contrasts(losses), table, axes=1) for table in tables]) if losses > 1 else None
    runs = sum(len(block.seeds) for block in found.blocks)
    of_run = own.training_run_variance if own else None
    variances = {
        "loss": (_of_losses(found, own) if own else None, losses),
        "fold": (_less(common.fold_variance, own.fold_variance if own else None, losses), len(tables)),
        "patient": (_less(common.patient_variance, own.patient_variance if own else None, losses), found.patients),
        "seed": (_less(common.training_run_variance, of_run, losses), runs),
        "loss x fold": (own.fold_variance if own else None, losses * len(tables)),
        "loss x patient": (own.patient_variance if own else None, losses * found.patients),
        "loss x seed": (of_run, losses * runs),
        "rest": (_rest(common, own, losses), sum(table.size for table in tables)),
    }
    total = sum(max(0.0, variance) for variance, _ in variances.values() if variance is not None)
    if total <= max(float(np.abs(table).max()) for table in tables) ** 2 * ROUNDING**2:
        total = 0.0
    return tuple(_component(source, variance, levels, total) for source, (variance, levels) in variances.items())


def _component(source: str, variance: float | None, levels: int, total: float) -> VarianceComponent:
    if variance is None:
        return VarianceComponent(source, None, None, None, levels)
    seen = max(0.0, variance)
    return VarianceComponent(
        source, float(variance), float(np.sqrt(seen)), float(seen / total) if total else 0.0, levels
    )


def _contrasts(losses: int) -> NDArray[np.float64]:
    """Helmert's orthonormal contrasts (losses - 1, losses): rows sum to 0 and have length 1."""
    rows = np.tril(np.ones((losses - 1, losses)), 0)
    index = np.arange(1, losses)
    rows[index - 1, index] = -index
    return np.asarray(rows / np.sqrt(index * (index + 1))[:, None], dtype=np.float64)


def _less(common: float | None, own: float | None, losses: int) -> float | None:
    """The variance that the losses share: that of their mean, less the part of their own variances in it."""
    if common is None:
        return None
    return common - max(0.0, own) / losses if own is not None else common


def _rest(common: Anova, own: Anova | None, losses: int) -> float | None:
    """Patient with seed, shared by the losses, and the rest of a single score."""
    if common.rest_variance is None:
        return None
    single = (own.rest_variance if own else None) or 0.0
    return max(0.0, common.rest_variance - single / losses) + single


def _of_losses(found: LossBlocks, own: Anova) -> float | None:
    """Variance of the losses' means, less the variance that equal losses would show."""
    means = column_means(found.blocks)
    n = np.array([len(block.patients) for block in found.blocks])
    seeds = np.array([len(block.seeds) for block in found.blocks])
    share = n / n.sum()
    parts = (
        (own.fold_variance, (share**2).sum()),
        (own.patient_variance, (share**2 / n).sum()),
        (own.training_run_variance, (share**2 / seeds).sum()),
        (own.rest_variance, (share**2 / (n * seeds)).sum()),
    )
    if own.patient_variance is None and own.fold_variance is None:
        return None
    noise = sum(max(0.0, variance) * float(factor) for variance, factor in parts if variance is not None)
    return float(means.var(ddof=1)) - noise
