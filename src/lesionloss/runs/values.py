"""From the long table to values that may be averaged: which rows count, and what an undefined or infinite one means.

The policy for empty masks, decided here and nowhere else:

- A case without lesions in the reference has no overlap and no distance; it leaves the headline of such metrics and is
  counted on its own (`correct_empty`, false-positive volume).
- An empty prediction where there are lesions is a miss. Its distance is infinite and its precision undefined: `value`
  keeps that, `penalised` has the worst there can be: the diagonal of the image in mm (as BraTS does), or 0.
- Whatever stays undefined is left out of means, and every mean says how many of how many values it has.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.runs.results import Results
from lesionloss.runs.scores import LAST_EPOCH

if TYPE_CHECKING:
    import pandas as pd

WHOLE_IMAGE = ("", "all")
DECLARED_TESTS = ("sign_flip", "signed_rank")  # what a plan may name as its test


@dataclass(frozen=True)
class MetricFacts:
    """How a metric is read.

    `needs_lesions`: it has no value where the reference is empty. `signed`: nearer to zero is better, so its absolute
    values are compared. `judges`: False for descriptions such as a volume, of which no value is better.
    `zero_if_missed`: a miss is charged 0 where the metric itself is undefined.
    """

    name: str
    title: str
    lower_is_better: bool
    needs_lesions: bool = True
    signed: bool = False
    judges: bool = True
    zero_if_missed: bool = False


_SHORT_TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "hd95": "95 % Hausdorff distance",
    "assd": "Mean surface distance",
    "asd_pred_to_ref": "Distance, prediction to reference",
    "asd_ref_to_pred": "Distance, reference to prediction",
    "nsd": "Surface Dice",
    "lesion_f1": "Lesion-wise F1",
    "lesion_sensitivity": "Lesion sensitivity",
    "lesion_ppv": "Lesion precision",
    "false_positive_lesions": "False-positive lesions",
    "false_positive_lesion_volume_mm3": "False-positive volume",
    "missed_lesions": "Missed lesions",
    "nll": "Negative log-likelihood",
    "nll_lesion_term": "Lesion term of the NLL",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "ace": "Average calibration error",
}


def facts(metric: str) -> MetricFacts:
    """What the registry of metrics says of `metric`; one it does not know is taken as a score, higher being better."""
    from lesionloss.metrics import Better, choose

    try:
        record = choose(metric).metric
    except UsageError:
        return MetricFacts(metric, metric.replace("_", " "), lower_is_better=False)
    return MetricFacts(
        name=metric,
        title=_SHORT_TITLES.get(metric, record.title),
        lower_is_better=record.direction in (Better.LOWER, Better.NEARER_ZERO),
        needs_lesions=record.empty.both is not None,
        signed=record.direction is Better.NEARER_ZERO,
        judges=record.direction is not Better.NONE,
        zero_if_missed=record.direction is Better.HIGHER and record.worst is not None,
    )


def headline_rows(results: Results, metric: str) -> "pd.DataFrame":
    """One row per held-out case and trial, at the last epoch, with `penalised` beside `value`; cases that the metric
    can't judge (no lesion in the reference) are gone.

    Raises UsageError for a metric that was not scored.
    """
    return _judged(case_rows(results, metric), metric)


def class_rows(results: Results, metric: str) -> "pd.DataFrame":
    """As `headline_rows`, one row per class, too: those whose `lesion` names a class rather than a number.

    The class must be in the reference of the case where the metric needs lesions.
    """
    rows = _held_out(results, metric)
    named = ~rows["lesion"].isin(WHOLE_IMAGE) & ~rows["lesion"].str.fullmatch(r"[0-9]+")
    return _judged(_last_rows(results, rows[named], metric), metric)


def _judged(rows: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    if facts(metric).needs_lesions:
        rows = rows[rows["status"].isin(["ok", "pred_empty"])]
    return rows.reset_index(drop=True)


def case_rows(results: Results, metric: str) -> "pd.DataFrame":
    """As `headline_rows`, cases without lesions included."""
    if metric not in results.metrics:
        hint = nearest(metric, list(results.metrics)) if results.metrics else "no trial has been scored yet"
        raise UsageError(f"no metric {metric!r} in {results.folder}; {hint}")
    rows = _held_out(results, metric)
    return _last_rows(results, rows[rows["lesion"].isin(WHOLE_IMAGE)], metric)


def _held_out(results: Results, metric: str) -> "pd.DataFrame":
    rows = results.held_out.get(metric)
    return results.scores.iloc[:0] if rows is None else rows


def _last_rows(results: Results, rows: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """Rows at the last epoch of each trial."""
    rows = rows[rows["epoch"] == rows.groupby("key")["epoch"].transform("max")]
    return rows.assign(penalised=_penalised(results, rows, metric))


def false_positive_mm3(results: Results, loss: str) -> float | None:
    """Mean volume that a loss marks where the reference is empty, over the maps that were kept; None of none."""
    spacing = {case.name: case.spacing_mm for case in results.cohort}
    scores = results.scores
    whole = scores[(scores["epoch"] == LAST_EPOCH) & scores["lesion"].isin(WHOLE_IMAGE)]
    status = whole.drop_duplicates(["key", "case"])
    rows = status[status["status"].isin(["ref_empty", "both_empty"]) & (status["loss"] == loss)]
    thresholds = {trial.key: float(trial.record.get("threshold", 0.5)) for trial in results.trials}
    volumes = [
        float((results.probability(key, case) >= thresholds[key]).sum()) * float(np.prod(spacing[case]))
        for key, case in zip(rows["key"], rows["case"], strict=True)
        if results.has_probability(key, case) and case in spacing
    ]
    return float(np.mean(volumes)) if volumes else None


def _penalised(results: Results, rows: "pd.DataFrame", metric: str) -> "pd.Series[float]":
    diagonals = rows["case"].map({case.name: case.diagonal_mm for case in results.cohort})
    charged = rows["value"].where(~np.isinf(rows["value"]), diagonals.where(rows["unit"] == "mm"))
    missed = rows["value"].isna() & (rows["status"] == "pred_empty") & facts(metric).zero_if_missed
    return charged.mask(missed, 0.0)


def per_patient(rows: "pd.DataFrame", column: str = "value") -> "pd.Series[float]":
    """One value per patient: the mean of its finite values, over seeds, then over cases. Without any, it is absent."""
    finite = rows[np.isfinite(rows[column])]
    cases = finite.groupby(["patient", "case"])[column].mean()
    means: pd.Series[float] = cases.groupby(level="patient").mean()
    return means


def patient_values(rows: "pd.DataFrame", column: str = "value") -> NDArray[np.float64]:
    """`per_patient` as a plain array (n,)."""
    return np.asarray(per_patient(rows, column), dtype=np.float64)
