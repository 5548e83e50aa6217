"""Scores as complete tables of patients by seeds. There is one table per fold: each fold and seed is a training run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_scores import MetricScores

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FoldBlock:
    """One fold: `values` (columns, patients, seeds), all finite; a column is a loss or a paired difference."""

    fold: int
    patients: tuple[str, ...]
    seeds: tuple[int, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class LossBlocks:
    """Losses in the plan's order, and one block per fold with a column for each loss."""

    losses: tuple[str, ...]
    blocks: tuple[FoldBlock, ...]

    @property
    def patients(self) -> int:
        """Patients of all folds; those of a repeat are those of the others."""
        return len({patient for block in self.blocks for patient in block.patients})


def loss_blocks(scores: MetricScores, *, trained_only: bool) -> LossBlocks:
    """The complete blocks of a run.

    A loss without a single finite score is left out, so that a loss that always fails does not empty the blocks.
    """
    rows = scores.comparable
    scored = set(rows.loc[np.isfinite(rows["penalised"]), "loss"])
    losses = [loss for loss in scores.losses if loss in scored and not (trained_only and loss in scores.untrained)]
    if not losses:
        return LossBlocks((), ())
    return LossBlocks(tuple(losses), complete_blocks(loss_table(rows, losses, scores.untrained), losses))


def complete_blocks(table: "pd.DataFrame", columns: Sequence[str]) -> tuple[FoldBlock, ...]:
    """Blocks from a table with one row per patient, case, fold and seed.

    A row counts if all columns are finite. A fold keeps the seeds that any patient has, and the patients that have
    all of these seeds: a failed trial removes a seed from its fold, an undefined score removes a patient.
    """
    finite = table[np.isfinite(table[list(columns)]).all(axis=1)]
    blocks = []
    for fold, rows in finite.groupby("fold"):
        wide = rows.groupby(["patient", "seed"])[list(columns)].mean().unstack("seed")
        wide = wide.dropna()
        seeds = tuple(int(seed) for seed in sorted(rows["seed"].unique()))
        if len(wide):
            stacked = np.stack([wide[column][list(seeds)].to_numpy(dtype=np.float64) for column in columns])
            blocks.append(FoldBlock(int(str(fold)), tuple(map(str, wide.index)), seeds, stacked))
    return tuple(blocks)


def loss_table(rows: "pd.DataFrame", losses: Sequence[str], untrained: frozenset[str]) -> "pd.DataFrame":
    """One row per patient, case, fold and seed with a column for each loss.

    A method without a training run has no seed: its score is repeated for every seed. If no loss has a seed, the seed
    is 0.
    """
    keys = ["patient", "case", "fold", "seed"]
    seedless = [loss for loss in losses if loss in untrained]
    seeded = [loss for loss in losses if loss not in untrained]
    wide = rows[rows["loss"].isin(seeded or seedless)].pivot_table(index=keys, columns="loss", values="penalised")
    table = wide.reset_index()
    for loss in seedless if seeded else ():
        own = rows.loc[rows["loss"] == loss, ["patient", "case", "fold", "penalised"]]
        table = table.merge(own.rename(columns={"penalised": loss}), on=keys[:3], how="left")
    return table


def column_means(blocks: Sequence[FoldBlock]) -> NDArray[np.float64]:
    """Means (columns,) over all patients, each the mean of its seeds."""
    by_patient = np.concatenate([block.values.mean(axis=2) for block in blocks], axis=1)
    return np.asarray(by_patient.mean(axis=1), dtype=np.float64)
