"""One loss in one metric over patients: means with intervals and n, empty predictions, and the spread between seeds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.runs.metric_scores import MetricScores, patient_values, per_patient
from lesionloss.statistics.evidence import (
    Interval,
    coefficient_of_variation,
    mean,
    mean_interval,
    quartiles,
    share_interval,
)

if TYPE_CHECKING:
    import pandas as pd

DICE_FLOOR = 0.1


@dataclass(frozen=True)
class LossSummary:
    """One loss in one metric, over the patients for which the metric is defined.

    `mean`, `median`, `quartiles` and `coefficient_of_variation` are over the `patients_defined` of `patients` patients
    that have a finite value; each value is the mean of its seeds. `predictions_defined` of `predictions` counts single
    predictions. `empty_predictions` are empty although the case has lesions. In `penalised_mean` they count with the
    diagonal of the image if the metric is in mm (else it equals the mean). `trials` of `planned` trials ended well.
    `failures` counts patients with a failed prediction: Dice below .1, in other metrics an empty prediction.
    `seed_sd` is the standard deviation of the seeds' means over the cases that every seed has; None for one seed.
    """

    loss: str
    method: str
    metric: str
    unit: str
    mean: float | None
    interval: Interval | None
    median: float | None
    quartiles: Interval | None
    coefficient_of_variation: float | None
    patients_defined: int
    patients: int
    predictions_defined: int
    predictions: int
    empty_predictions: int
    penalised_mean: float | None
    penalised_interval: Interval | None
    failures: int
    failure_interval: Interval | None
    seed_means: tuple[tuple[int, float], ...]
    seed_sd: float | None
    trials: int
    planned: int


def summarise(scores: MetricScores) -> tuple[LossSummary, ...]:
    """Summarise every loss.

    Args:
        scores: What `Results.metric_scores` gives.

    Returns:
        One summary per loss, in the plan's order.
    """
    return tuple(_summary(scores, loss) for loss in scores.losses)


def _summary(scores: MetricScores, loss: str) -> LossSummary:
    rows = scores.of_loss(loss)
    values = patient_values(rows)
    penalised = patient_values(rows, "penalised")
    seeds = seed_means(rows, "value")
    trials = [trial for trial in scores.trials if trial.loss == loss]
    unfinished = [*(trial.loss for trial in scores.failed), *(trial.loss for trial in scores.missing)].count(loss)
    return LossSummary(
        loss=loss,
        method=trials[0].method if trials else "network",
        metric=scores.metric,
        unit=str(rows["unit"].iloc[0]) if len(rows) else "",
        mean=mean(values),
        interval=mean_interval(values),
        median=float(np.median(values)) if len(values) else None,
        quartiles=quartiles(values),
        coefficient_of_variation=coefficient_of_variation(values),
        patients_defined=len(values),
        patients=int(rows["patient"].nunique()),
        predictions_defined=int(np.isfinite(rows["value"]).sum()),
        predictions=len(rows),
        empty_predictions=int((rows["status"] == "pred_empty").sum()),
        penalised_mean=mean(penalised),
        penalised_interval=mean_interval(penalised),
        failures=(failures := failed_patients(scores, loss)),
        failure_interval=share_interval(failures, int(rows["patient"].nunique())),
        seed_means=seeds,
        seed_sd=float(np.std([value for _, value in seeds], ddof=1)) if len(seeds) > 1 else None,
        trials=len(trials),
        planned=len(trials) + unfinished,
    )


def failed_patients(scores: MetricScores, loss: str) -> int:
    """Patients with a failed prediction of a loss: Dice below .1, in other metrics an empty prediction."""
    rows = scores.of_loss(loss)
    failed = rows["penalised"] < DICE_FLOOR if scores.metric == "dice" else rows["status"] == "pred_empty"
    return int(rows.loc[failed, "patient"].nunique())


def seed_means(rows: "pd.DataFrame", column: str) -> tuple[tuple[int, float], ...]:
    """Mean over patients for each seed, over the cases that are finite for every seed."""
    finite = rows[np.isfinite(rows[column])]
    seeds_of_case = finite.groupby("case")["seed"].transform("nunique")
    common = finite[seeds_of_case == finite["seed"].nunique()]
    means = common.groupby("seed")[[*common.columns]].apply(lambda part: per_patient(part, column).mean())
    return tuple((int(seed), float(value)) for seed, value in means.items()) if len(common) else ()
