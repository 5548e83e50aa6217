"""Training runs that never mark a class: a collapse that a mean over classes and cases can hide."""

from typing import TYPE_CHECKING

from lesionloss.core.number_text import listed, plural
from lesionloss.runs.metric_scores import MetricScores

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = ("nan", "None", "<NA>")  # seeds of collected predictions
NAMED = 6  # training runs, or pairs of fold and seed, that a warning names


def never_marked(scores: MetricScores) -> tuple[str, ...]:
    """A warning for each class that some training runs mark in no test case that has it.

    Where this is so of all losses in a fold and seed, they share what is to blame: the start or too short a training.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        The warnings, without a full stop; for a run with one class, of its lesions.
    """
    rows = scores.classes if len(scores.classes) else scores.rows.assign(lesion="lesions")
    rows = rows[~rows["loss"].isin(scores.untrained) & rows["status"].isin(("ok", "pred_empty"))]
    warnings = []
    for name, part in rows.assign(empty=rows["status"] == "pred_empty").groupby("lesion", sort=False):
        cases = part.groupby("key", sort=False)["empty"]
        collapsed = cases.all() & (cases.size() > 1)  # one empty prediction alone is no collapse
        if collapsed.any():
            runs = part.drop_duplicates("key").set_index("key")[["loss", "fold", "seed"]].assign(collapsed=collapsed)
            share = f"{int(collapsed.sum())} of {plural(len(collapsed), 'training run')}"
            warnings.append(f"{name}: marked in no test case by {share}: {_which(runs)}")
    return tuple(warnings)


def _which(runs: "pd.DataFrame") -> str:
    """The collapsed runs, those of a fold and seed together where no loss escaped."""
    shared, single = [], []
    for (fold, seed), part in runs.groupby(["fold", "seed"], sort=False, dropna=False):
        where = f"fold {fold}" + ("" if str(seed) in UNKNOWN else f", seed {seed}")
        if len(part) > 1 and part["collapsed"].all():
            shared.append(where)
        else:
            single += [f"{loss} in {where}" for loss in part.loc[part["collapsed"], "loss"]]
    words = []
    if shared:
        blame = "so not the loss is the cause, but the start or too short a training"
        words.append(f"by all losses in {_some(shared)}, {blame}")
    if single:
        words.append(_some(single))
    return "; ".join(words)


def _some(names: list[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return listed([*names[:NAMED], *more])
