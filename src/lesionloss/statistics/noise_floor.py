"""The noise floor: how far two equal training runs of a run differ, which is what the hardware alone brings about."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.runs.metric_scores import MetricScores, patient_values, split_rows
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial
from lesionloss.runs.scores import read_scores
from lesionloss.statistics.pairs import MACHINE_FACTS, without_rounding

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NoiseFloor:
    """The difference between a trial and the same trial trained again, on the test cases of its fold.

    Attributes:
        metric: What is compared.
        loss: The loss of the trial.
        fold: Its fold.
        seed: Its seed.
        patients: The patients of the fold with a defined value.
        mean: The size of the mean difference over these patients.
        largest: The largest difference of a case.
        losses: The same mean for each other loss of this fold and seed against the first training run.
        differing: In what the machines of the two differ, which then is a part of the difference.
    """

    metric: str
    loss: str
    fold: int
    seed: int
    patients: int
    mean: float
    largest: float
    losses: tuple[tuple[str, float], ...]
    differing: tuple[str, ...]


def measure_noise_floor(results: Results, metric: str) -> NoiseFloor | None:
    """Compare the trial that was trained again with the first one.

    Args:
        results: A run, from `lesionloss.load`.
        metric: A metric that was scored.

    Returns:
        The difference; None where no trial was trained again, or no value of it is defined.

    Raises:
        UsageError: The metric was not scored.
        DataError: A table of scores is damaged.
    """
    known = {trial.key: trial for trial in results.trials}
    pairs = [(known[trial.key], trial) for trial in results.repeated if trial.key in known]
    return _difference(results, results.metric_scores(metric), *pairs[0]) if pairs else None


def _difference(results: Results, scores: MetricScores, first: RunTrial, again: RunTrial) -> NoiseFloor | None:
    table = read_scores(again.file("scores.csv"), again.record.get("test", ())).assign(key=again.key)
    chosen = table[(table["split"] == "test") & (table["metric"] == scores.metric)]
    theirs = split_rows(chosen, scores.facts, results.cohort)[0]
    if scores.facts.signed:
        theirs = theirs.assign(penalised=theirs["penalised"].abs())
    rows = scores.comparable
    ours = rows[rows["key"] == first.key]
    pairs = _paired(ours, theirs)
    if not np.isfinite(pairs["difference"]).any():
        return None
    beside = rows[(rows["fold"] == first.fold) & (rows["seed"] == first.seed) & ~rows["loss"].isin(scores.untrained)]
    others = [(loss, _mean(_paired(ours, beside[beside["loss"] == loss]))) for loss in scores.losses]
    return NoiseFloor(
        metric=scores.metric,
        loss=first.loss,
        fold=first.fold,
        seed=first.seed,
        patients=len(patient_values(pairs, "difference")),
        mean=_mean(pairs),
        largest=float(np.nanmax(pairs["difference"].abs())),
        losses=tuple((loss, mean) for loss, mean in others if loss != first.loss and np.isfinite(mean)),
        differing=tuple(name for name in MACHINE_FACTS if first.machine.get(name) != again.machine.get(name)),
    )


def _paired(ours: "pd.DataFrame", theirs: "pd.DataFrame") -> "pd.DataFrame":
    """Two tables of scores by case, with their difference."""
    pairs = ours.merge(theirs[["case", "penalised"]], on="case", suffixes=("", "_other"))
    return pairs.assign(difference=without_rounding(pairs["penalised_other"], pairs["penalised"]))


def _mean(pairs: "pd.DataFrame") -> float:
    """The size of the mean difference over patients; NaN where it is not defined."""
    values = patient_values(pairs, "difference")
    return abs(float(values.mean())) if len(values) else float("nan")
