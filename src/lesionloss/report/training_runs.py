"""Scores of single training runs, and the best epoch and seed of each fold beside the last epoch of all seeds."""

import itertools
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.report.history import splits_of
from lesionloss.runs.metric_facts import MetricFacts, metric_facts
from lesionloss.runs.results import Results

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TrainingRunScore:
    """The mean of one training run over `cases` cases, at the last epoch of its curves.

    `epoch` is None for the weights that are compared: in metrics without curves.
    """

    metric: str
    split: str
    loss: str
    fold: int
    seed: int
    epoch: int | None
    mean: float
    cases: int


@dataclass(frozen=True)
class FoldBest:
    """The best mean of one fold over all seeds and epochs, where it was reached, and the mean of the last epoch."""

    fold: int
    seed: int
    epoch: int
    best: float
    last: float


@dataclass(frozen=True)
class BestResult:
    """A loss in one metric and split, as means over folds.

    `best`: of the best epoch and seed of each fold, chosen on the same scores (Cabezas and Diez 2024, Table 2), so it
    is optimistic. `last`: of the last epoch, all seeds.
    """

    metric: str
    split: str
    loss: str
    best: float
    last: float
    folds: tuple[FoldBest, ...]


def training_run_scores(results: Results) -> tuple[TrainingRunScore, ...]:
    """One score for each metric, split, loss, fold and seed. Only metrics with curves have training images."""
    found = []
    for metric in results.metrics:
        curves = _last_epochs(results.epoch_means[results.epoch_means["metric"] == metric])
        means = curves if len(curves) else _compared(results, metric)
        for split, loss in itertools.product(splits_of(means), results.losses):
            part = means[(means["split"] == split) & (means["loss"] == loss)]
            for row in part.sort_values(["fold", "seed"]).to_dict("records"):
                place = (metric, split, loss, int(row["fold"]), int(row["seed"]))
                epoch = int(row["epoch"]) if len(curves) else None
                found.append(TrainingRunScore(*place, epoch, float(row["mean"]), int(row["cases"])))
    return tuple(found)


def best_results(results: Results) -> tuple[BestResult, ...]:
    """Every loss, metric and split with curves; each metric and split has its own best epoch and seed in each fold."""
    means = results.epoch_means
    found = []
    for metric, loss, split in itertools.product(results.metrics, results.losses, splits_of(means)):
        part = means[(means["metric"] == metric) & (means["loss"] == loss) & (means["split"] == split)]
        if len(part):
            folds = tuple(_fold_best(one, metric_facts(metric)) for _, one in part.groupby("fold"))
            best, last = (fmean(getattr(fold, which) for fold in folds) for which in ("best", "last"))
            found.append(BestResult(metric, split, loss, best, last, folds))
    return tuple(found)


def _fold_best(rows: "pd.DataFrame", facts: MetricFacts) -> FoldBest:
    rows = rows.sort_values(["epoch", "seed"])
    best = rows.iloc[int(np.argmin([facts.badness(value) for value in rows["mean"]]))]
    last = float(_last_epochs(rows)["mean"].mean())
    return FoldBest(int(best["fold"]), int(best["seed"]), int(best["epoch"]), float(best["mean"]), last)


def _last_epochs(means: "pd.DataFrame") -> "pd.DataFrame":
    return means[means["epoch"] == means.groupby(["key", "split"])["epoch"].transform("max")]


def _compared(results: Results, metric: str) -> "pd.DataFrame":
    """The means over test images of the weights that are compared; methods without a training run are left out."""
    rows = results.metric_scores(metric).rows
    rows = rows[np.isfinite(rows["value"]) & ~rows["loss"].isin(results.untrained)]
    grouped = rows.groupby(["split", "loss", "fold", "seed", "key"])["value"].agg(["mean", "size"])
    means: pd.DataFrame = grouped.reset_index().rename(columns={"size": "cases"})
    return means
