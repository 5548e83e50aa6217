"""The rows of scores.csv: one for each metric and case, and for each class where there are several."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.bench.one_trial.predictions import Prediction
from lesionloss.data.prepared import PreparedCase
from lesionloss.metrics import Case, choose, score
from lesionloss.metrics.several_classes import mean_of_defined
from lesionloss.training.trial import Trial

COLUMNS = (
    *("loss", "dataset", "fold", "seed", "epoch", "split", "case", "lesion", "metric", "value", "unit"),
    *("patient", "status"),
)


@dataclass(frozen=True)
class ScoreContext:
    """What scores belong to: a trial, its data set, an epoch (`last`: the chosen weights), and a split."""

    trial: Trial
    dataset: str
    epoch: str = "last"
    split: str = "test"

    def row(self, case: str, patient: str, metric: str, value: float, status: str, lesion: str = "") -> dict[str, Any]:
        """Return a row of scores.csv; an undefined value is an empty cell, an infinite one reads `inf`."""
        return {
            "loss": self.trial.loss,
            "dataset": self.dataset,
            "fold": self.trial.fold,
            "seed": self.trial.seed,
            "epoch": self.epoch,
            "split": self.split,
            "case": case,
            "lesion": lesion,
            "metric": metric,
            "value": "" if np.isnan(value) else repr(float(value)),
            "unit": choose(metric).unit,
            "patient": patient,
            "status": status,
        }


def score_rows(
    context: ScoreContext, case: PreparedCase, prediction: Prediction, metrics: Sequence[str], *, classes: bool = True
) -> list[dict[str, Any]]:
    """Score a case.

    Args:
        context: What the scores belong to.
        case: The case with its reference.
        prediction: The prediction for it.
        metrics: Names of metrics.
        classes: Add rows for each of several classes, named in the column `lesion`.

    Returns:
        One row for each metric; of several classes, the mean over those in which the metric is defined, with the class
        weights of the trial.
    """
    whole = _metric_case(case, prediction.labels > 0, case.lesion, prediction.lesion)
    if len(case.classes) == 1:
        return [
            context.row(case.name, case.patient, name, value, whole.status)
            for name, value in score(whole, metrics).items()
        ]
    class_cases = [
        _metric_case(case, prediction.labels == number, case.reference == number, probability)
        for number, probability in enumerate(prediction.probabilities, 1)
    ]
    scores = [score(each, metrics) for each in class_cases]
    given = dict(context.trial.recipe.class_weights)
    weights = [given.get(name, 1.0) for name in case.classes] if given else []
    means = {name: mean_of_defined([of[name] for of in scores], weights).value for name in scores[0]}
    rows = [context.row(case.name, case.patient, name, mean, whole.status) for name, mean in means.items()]
    for class_name, each, values in zip(case.classes, class_cases, scores, strict=True) if classes else ():
        rows += [
            context.row(case.name, case.patient, name, value, each.status, class_name) for name, value in values.items()
        ]
    return rows


def _metric_case(
    case: PreparedCase, mask: NDArray[np.bool_], reference: NDArray[np.bool_], probability: NDArray[np.float32]
) -> Case:
    return Case(
        mask, reference, spacing_mm=case.spacing_mm, brain=case.brain, ignore=case.ignore, probability=probability
    )


def write_scores(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write scores.csv."""
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
