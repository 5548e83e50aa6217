"""Scores as complete tables: patients by seeds, one table per fold, because each fold and seed is a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Block:
    """One fold: values (columns, patients, seeds), all finite; a column is a loss or a difference between two."""

    fold: int
    patients: tuple[str, ...]
    seeds: tuple[int, ...]
    values: NDArray[np.float64]


def complete_blocks(table: "pd.DataFrame", columns: Sequence[str]) -> tuple[Block, ...]:
    """Blocks from a table with one row per patient, case, fold and seed.

    A row counts where all columns are finite. A fold keeps the seeds that any patient has, and the patients that have
    all of these: one failed trial costs a seed of its fold, one undefined score a patient.
    """
    finite = table[np.isfinite(table[list(columns)]).all(axis=1)]
    blocks = []
    for fold, rows in finite.groupby("fold"):
        wide = rows.groupby(["patient", "seed"])[list(columns)].mean().unstack("seed")
        wide = wide.dropna()
        seeds = tuple(int(seed) for seed in sorted(rows["seed"].unique()))
        if len(wide):
            stacked = np.stack([wide[column][list(seeds)].to_numpy(dtype=np.float64) for column in columns])
            blocks.append(Block(int(str(fold)), tuple(map(str, wide.index)), seeds, stacked))
    return tuple(blocks)


def loss_table(rows: "pd.DataFrame", losses: Sequence[str], seedless: Sequence[str]) -> "pd.DataFrame":
    """One row per patient, case, fold and seed with a column for each loss.

    A method without a network has no seed: its score stands beside every seed. Where nothing has a seed, its own is 0.
    """
    keys = ["patient", "case", "fold", "seed"]
    seeded = [loss for loss in losses if loss not in seedless]
    wide = rows[rows["loss"].isin(seeded or seedless)].pivot_table(index=keys, columns="loss", values="penalised")
    table = wide.reset_index()
    for loss in seedless if seeded else ():
        own = rows.loc[rows["loss"] == loss, ["patient", "case", "fold", "penalised"]]
        table = table.merge(own.rename(columns={"penalised": loss}), on=keys[:3], how="left")
    return table


def column_means(blocks: Sequence[Block]) -> NDArray[np.float64]:
    """Means (columns,) over all patients, each the mean of its seeds."""
    by_patient = np.concatenate([block.values.mean(axis=2) for block in blocks], axis=1)
    return np.asarray(by_patient.mean(axis=1), dtype=np.float64)
