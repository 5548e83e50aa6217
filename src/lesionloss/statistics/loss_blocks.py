"""The scores of a run as complete blocks with one column per loss: what ranks, luck and components are made from."""

from dataclasses import dataclass

import numpy as np

from lesionloss.runs.results import DIFFERENCE_THRESHOLD, Results
from lesionloss.statistics.complete_blocks import Block, complete_blocks, loss_table
from lesionloss.statistics.differences import comparable_rows


@dataclass(frozen=True)
class World:
    """Losses in the plan's order and one block per fold with a column for each."""

    losses: tuple[str, ...]
    blocks: tuple[Block, ...]

    @property
    def patients(self) -> int:
        return sum(len(block.patients) for block in self.blocks)


def world(results: Results, metric: str, *, networks_only: bool) -> World:
    """Losses without a single finite score are left out, so that one that always fails does not empty the rest."""
    rows = comparable_rows(results, metric)
    scored = set(rows.loc[np.isfinite(rows["penalised"]), "loss"])
    seedless = {str(loss) for loss in rows.loc[rows["method"] == DIFFERENCE_THRESHOLD, "loss"]}
    losses = [loss for loss in results.losses if loss in scored and not (networks_only and loss in seedless)]
    if not losses:
        return World((), ())
    table = loss_table(rows, losses, [loss for loss in losses if loss in seedless])
    return World(tuple(losses), complete_blocks(table, losses))
