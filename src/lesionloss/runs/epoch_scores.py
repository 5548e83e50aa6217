"""Scores during training: one mean for each training run, epoch and split."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.metric_scores import REFERENCE_EMPTY, WHOLE_IMAGE
from lesionloss.runs.scores import LAST_EPOCH

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("metric", "split", "loss", "fold", "seed", "key", "epoch")


def epoch_means(scores: "pd.DataFrame", metrics: Sequence[str]) -> "pd.DataFrame":
    """One row per metric, split, training run and numbered epoch: `mean` over `cases` cases or patches.

    Only finite values count. Patches and images without lesions are left out of metrics that need one.

    Args:
        scores: All scores of a run, as `Results.scores` has them.
        metrics: The metrics of the run.
    """
    rows = scores[(scores["epoch"] < LAST_EPOCH) & scores["lesion"].isin(WHOLE_IMAGE) & np.isfinite(scores["value"])]
    need_lesions = [metric for metric in metrics if metric_facts(metric).needs_lesions]
    rows = rows[~(rows["metric"].isin(need_lesions) & rows["status"].isin(REFERENCE_EMPTY))]
    grouped = rows.groupby(list(COLUMNS))["value"].agg(["mean", "size"])
    means: pd.DataFrame = grouped.reset_index().rename(columns={"size": "cases"})
    return means
