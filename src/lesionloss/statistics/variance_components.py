"""Where the spread of the scores comes from: patients, folds, seeds, losses, and what they do together.

The mixed model y = loss + fold + patient in fold + seed in fold + the same with each loss + rest is split in two: the
mean over losses, and contrasts between losses. Each is an analysis of variance with exact expectations (unbiased for
folds of any size, the same as REML where the design is balanced and nothing is negative).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.results import Results
from lesionloss.statistics.complete_blocks import column_means
from lesionloss.statistics.loss_blocks import World, world
from lesionloss.statistics.new_training_runs import Anova, anova


@dataclass(frozen=True)
class Component:
    """One source: its standard deviation in the metric's unit and its share of the variance of a single score.

    `variance` is the unbiased estimate and may be negative, which means "too small to see"; `sd` and `share` take it as
    0. All three are None where the design can't tell the source from another. With one seed per fold, `patient` then
    holds the rest and `fold` the seeds; with one patient per fold, `seed` holds the rest and `fold` the patients.
    `seed` is luck that all losses share, `loss x seed` luck that changes their order.
    """

    source: str
    variance: float | None
    sd: float | None
    share: float | None
    levels: int


def components(results: Results, metric: str) -> tuple[Component, ...]:
    """Of all trained losses, over patients and seeds with complete scores; empty for fewer than two patients."""
    found = world(results, metric, networks_only=True)
    return components_of(found) if found.patients > 1 else ()


def components_of(found: World) -> tuple[Component, ...]:
    """The components of complete blocks."""
    tables = [block.values for block in found.blocks]
    losses = len(found.losses)
    common = anova([table.mean(axis=0, keepdims=True) for table in tables])
    own = anova([np.tensordot(_contrasts(losses), table, axes=1) for table in tables]) if losses > 1 else None
    trainings = sum(len(block.seeds) for block in found.blocks)
    variances = {
        "loss": (_of_losses(found, own) if own else None, losses),
        "fold": (_less(common.fold_variance, own.fold_variance if own else None, losses), len(tables)),
        "patient": (_less(common.patient_variance, own.patient_variance if own else None, losses), found.patients),
        "seed": (_less(common.training_variance, own.training_variance if own else None, losses), trainings),
        "loss x fold": (own.fold_variance if own else None, losses * len(tables)),
        "loss x patient": (own.patient_variance if own else None, losses * found.patients),
        "loss x seed": (own.training_variance if own else None, losses * trainings),
        "rest": (_rest(common, own, losses), sum(table.size for table in tables)),
    }
    total = sum(max(0.0, variance) for variance, _ in variances.values() if variance is not None)
    return tuple(_component(source, variance, levels, total) for source, (variance, levels) in variances.items())


def _component(source: str, variance: float | None, levels: int, total: float) -> Component:
    if variance is None:
        return Component(source, None, None, None, levels)
    seen = max(0.0, variance)
    return Component(source, float(variance), float(np.sqrt(seen)), float(seen / total) if total else 0.0, levels)


def _contrasts(losses: int) -> NDArray[np.float64]:
    """Orthonormal contrasts (losses - 1, losses): rows add up to 0 and have length 1 (Helmert's)."""
    rows = np.tril(np.ones((losses - 1, losses)), 0)
    index = np.arange(1, losses)
    rows[index - 1, index] = -index
    return np.asarray(rows / np.sqrt(index * (index + 1))[:, None], dtype=np.float64)


def _less(common: float | None, own: float | None, losses: int) -> float | None:
    """What the losses share: the variance of their mean, less what their own variances leave in it."""
    if common is None:
        return None
    return common - max(0.0, own) / losses if own is not None else common


def _rest(common: Anova, own: Anova | None, losses: int) -> float | None:
    """Patient with seed, shared by the losses, and whatever is a single score's own."""
    if common.rest_variance is None:
        return None
    single = (own.rest_variance if own else None) or 0.0
    return max(0.0, common.rest_variance - single / losses) + single


def _of_losses(found: World, own: Anova) -> float | None:
    """Variance of the losses' means, less what patients and trainings alone would make of equal losses."""
    means = column_means(found.blocks)
    n = np.array([len(block.patients) for block in found.blocks])
    seeds = np.array([len(block.seeds) for block in found.blocks])
    share = n / n.sum()
    parts = (
        (own.fold_variance, (share**2).sum()),
        (own.patient_variance, (share**2 / n).sum()),
        (own.training_variance, (share**2 / seeds).sum()),
        (own.rest_variance, (share**2 / (n * seeds)).sum()),
    )
    if own.patient_variance is None and own.fold_variance is None:
        return None
    noise = sum(max(0.0, variance) * float(factor) for variance, factor in parts if variance is not None)
    return float(means.var(ddof=1)) - noise
