"""One loss in one metric over patients: means with intervals and n, misses, and the spread between seeds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.runs.results import Results
from lesionloss.runs.values import headline_rows, patient_values, per_patient
from lesionloss.statistics.evidence import Interval, coefficient_of_variation, mean, mean_interval, quartiles

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary:
    """One loss in one metric, over the patients that the metric can judge.

    `mean`, `median`, `quartiles`, `coefficient_of_variation` are over the `patients_defined` of `patients` patients
    that have a finite value, each the mean of its seeds; `predictions_defined` of `predictions` counts single
    predictions. `misses` are empty predictions where there are lesions. `penalised_mean` charges them the diagonal of
    the image where the metric is in mm (else it equals the mean). `trials` of `planned` trials ended well.
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
    misses: int
    penalised_mean: float | None
    penalised_interval: Interval | None
    seed_means: tuple[tuple[int, float], ...]
    seed_sd: float | None
    trials: int
    planned: int


def summarise(results: Results, metric: str) -> tuple[Summary, ...]:
    """One summary per loss, in the plan's order. Raises UsageError for a metric that was not scored."""
    rows = headline_rows(results, metric)
    return tuple(_summary(results, rows[rows["loss"] == loss], loss, metric) for loss in results.losses)


def _summary(results: Results, rows: "pd.DataFrame", loss: str, metric: str) -> Summary:
    values = patient_values(rows)
    charged = patient_values(rows, "penalised")
    seeds = seed_means(rows, "value")
    trials = [trial for trial in results.trials if trial.loss == loss]
    return Summary(
        loss=loss,
        method=trials[0].method if trials else "network",
        metric=metric,
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
        misses=int((rows["status"] == "pred_empty").sum()),
        penalised_mean=mean(charged),
        penalised_interval=mean_interval(charged),
        seed_means=seeds,
        seed_sd=float(np.std([value for _, value in seeds], ddof=1)) if len(seeds) > 1 else None,
        trials=len(trials),
        planned=len(trials) + _lost(results, loss),
    )


def seed_means(rows: "pd.DataFrame", column: str) -> tuple[tuple[int, float], ...]:
    """Mean over patients for each seed, over the cases that are finite for every seed."""
    finite = rows[np.isfinite(rows[column])]
    seeds_of_case = finite.groupby("case")["seed"].transform("nunique")
    common = finite[seeds_of_case == finite["seed"].nunique()]
    means = common.groupby("seed")[[*common.columns]].apply(lambda part: per_patient(part, column).mean())
    return tuple((int(seed), float(value)) for seed, value in means.items()) if len(common) else ()


def _lost(results: Results, loss: str) -> int:
    return sum(t.loss == loss for t in results.failed) + sum(t.loss == loss for t in results.missing)
