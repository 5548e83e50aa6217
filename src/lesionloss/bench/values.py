"""From the long table to values that may be averaged: which rows count, and what an undefined or infinite one means.

The policy for empty masks, decided here and nowhere else:

- A case without lesions in the reference has no overlap and no distance; it leaves the headline of such metrics and is
  counted on its own (`correct_empty`, false-positive volume).
- An empty prediction where there are lesions is a miss. Its distance is infinite: `value` keeps the infinity and
  `penalised` has the diagonal of the image in mm instead, the longest distance there can be (as BraTS does).
- Whatever stays undefined is left out of means, and every mean says how many of how many values it has.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.bench.results import Results
from lesionloss.catalogue import nearest
from lesionloss.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

WHOLE_IMAGE = ("", "all")


@dataclass(frozen=True)
class MetricFacts:
    """How a metric is read: its heading, which way is better, and whether it needs lesions in the reference."""

    name: str
    title: str
    lower_is_better: bool = False
    needs_lesions: bool = True


def _known(*records: MetricFacts) -> dict[str, MetricFacts]:
    return {record.name: record for record in records}


_FACTS = _known(
    MetricFacts("dice", "Dice"),
    MetricFacts("jaccard", "Jaccard"),
    MetricFacts("precision", "Precision"),
    MetricFacts("recall", "Recall"),
    MetricFacts("nsd", "Surface Dice"),
    MetricFacts("hd", "Hausdorff distance", lower_is_better=True),
    MetricFacts("hd95", "95 % Hausdorff distance", lower_is_better=True),
    MetricFacts("asd", "Surface distance", lower_is_better=True),
    MetricFacts("assd", "Mean surface distance", lower_is_better=True),
    MetricFacts("lesion_f1", "Lesion F1"),
    MetricFacts("lesion_recall", "Lesion recall"),
    MetricFacts("lesion_precision", "Lesion precision"),
    MetricFacts("brier", "Brier score", lower_is_better=True, needs_lesions=False),
    MetricFacts("nll", "Negative log-likelihood", lower_is_better=True, needs_lesions=False),
    MetricFacts("ece", "Calibration error", lower_is_better=True, needs_lesions=False),
    MetricFacts("ace", "Adaptive calibration error", lower_is_better=True, needs_lesions=False),
    MetricFacts("mce", "Largest calibration error", lower_is_better=True, needs_lesions=False),
)
_COSTLY_WORDS = ("error", "distance", "missed", "fn_", "hd", "asd")
_FALSE_ALARM_WORDS = ("false", "fp_")


def facts(metric: str) -> MetricFacts:
    """What is known of a metric; for an unknown one, errors, distances and false counts are better when lower."""
    costly = any(word in metric for word in _COSTLY_WORDS)
    false_alarm = any(word in metric for word in _FALSE_ALARM_WORDS)
    title = metric.replace("_", " ")
    guess = MetricFacts(metric, title, lower_is_better=costly or false_alarm, needs_lesions=not false_alarm)
    return _FACTS.get(metric, guess)


def headline_rows(results: Results, metric: str) -> "pd.DataFrame":
    """One row per held-out case and trial, at the last epoch, with `penalised` beside `value`; cases that the metric
    can't judge (no lesion in the reference) are gone.

    Raises UsageError for a metric that was not scored.
    """
    rows = case_rows(results, metric)
    if facts(metric).needs_lesions:
        rows = rows[rows["status"].isin(["ok", "pred_empty"])]
    return rows.reset_index(drop=True)


def case_rows(results: Results, metric: str) -> "pd.DataFrame":
    """As `headline_rows`, cases without lesions included."""
    table = results.scores
    known = list(dict.fromkeys(table["metric"]))
    if metric not in known:
        hint = nearest(metric, known) if known else "no trial has been scored yet"
        raise UsageError(f"no metric {metric!r} in {results.folder}; {hint}")
    rows = table[(table["metric"] == metric) & (table["split"] == "test") & table["lesion"].isin(WHOLE_IMAGE)]
    rows = rows[rows["epoch"] == rows.groupby("key")["epoch"].transform("max")]
    return rows.assign(penalised=_penalised(results, rows))


def false_positive_mm3(results: Results, loss: str) -> float | None:
    """Mean volume that a loss marks where the reference is empty, over the maps that were kept; None of none."""
    spacing = {case.name: case.spacing_mm for case in results.cohort}
    status = results.scores.drop_duplicates(["key", "case"])
    rows = status[status["status"].isin(["ref_empty", "both_empty"]) & (status["loss"] == loss)]
    thresholds = {trial.key: float(trial.record.get("threshold", 0.5)) for trial in results.trials}
    volumes = [
        float((results.probability(key, case) >= thresholds[key]).sum()) * float(np.prod(spacing[case]))
        for key, case in zip(rows["key"], rows["case"], strict=True)
        if results.has_probability(key, case) and case in spacing
    ]
    return float(np.mean(volumes)) if volumes else None


def _penalised(results: Results, rows: "pd.DataFrame") -> "pd.Series[float]":
    diagonals = rows["case"].map({case.name: case.diagonal_mm for case in results.cohort})
    return rows["value"].where(~np.isinf(rows["value"]), diagonals.where(rows["unit"] == "mm"))


def per_patient(rows: "pd.DataFrame", column: str = "value") -> "pd.Series[float]":
    """One value per patient: the mean of its finite values, over seeds, then over cases. Without any, it is absent."""
    finite = rows[np.isfinite(rows[column])]
    cases = finite.groupby(["patient", "case"])[column].mean()
    means: pd.Series[float] = cases.groupby(level="patient").mean()
    return means


def patient_values(rows: "pd.DataFrame", column: str = "value") -> NDArray[np.float64]:
    """`per_patient` as a plain array (n,)."""
    return np.asarray(per_patient(rows, column), dtype=np.float64)
