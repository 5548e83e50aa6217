"""Score one prediction, and write its rows and its map into the unfinished folder of its trial."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.collecting.case_arrays import ReadPrediction, read_prediction
from lesionloss.collecting.found_predictions import ClassLabels, Prediction, TrialName
from lesionloss.core.errors import DataError
from lesionloss.core.files import atomic_file, write_text
from lesionloss.data.prepared import PreparedCase, load_prepared
from lesionloss.metrics import Case, choose, score
from lesionloss.metrics.several_classes import mean_of_defined
from lesionloss.runs.scores import COLUMNS

ROWS = "rows"  # the folder of the rows of each case, while a trial is unfinished
LOWEST = 0.001  # smaller probabilities are not stored, as in a benchmark


@dataclass(frozen=True)
class Rules:
    """How all predictions are scored."""

    metrics: tuple[str, ...]
    labels: ClassLabels
    threshold: float | None


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """A prediction to score.

    Attributes:
        prediction: The prediction.
        case: The prepared case of its reference.
        folder: The unfinished folder of its trial.
        rules: How it is scored.
    """

    prediction: Prediction
    case: Path
    folder: Path
    rules: Rules

    @property
    def rows(self) -> Path:
        """The file of its rows, which is written last."""
        return self.folder / ROWS / f"{self.prediction.case}.json"


def score_prediction(task: ScoreTask) -> str:
    """Score a prediction and write what is kept of it.

    Returns:
        Why it can't be scored; empty if it was.
    """
    if task.rows.is_file():
        return ""
    try:
        case = load_prepared(task.case)
        found = read_prediction(task.prediction, case, task.rules.labels, task.rules.threshold)
    except DataError as error:
        return str(error)
    rows = _rows(case, found, task.rules.metrics)
    _write_map(task.folder / "predictions" / f"{case.name}.npz", case, found)
    write_text(task.rows, json.dumps(rows))
    return ""


def _write_map(path: Path, case: PreparedCase, found: ReadPrediction) -> None:
    lesion = found.lesion
    arrays = {"probability": np.where(lesion >= np.float32(LOWEST), lesion, np.float32(0))}
    labels = {"classes": found.labels} if len(case.classes) > 1 else {}
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays, **labels)


def _rows(case: PreparedCase, found: ReadPrediction, metrics: Sequence[str]) -> list[dict[str, str]]:
    """One row for each metric; of several classes, their mean where they are defined, and a row for each class."""
    whole = _metric_case(case, found, None)
    if len(case.classes) == 1:
        return [_row(case, whole, name, value, "") for name, value in score(whole, metrics).items()]
    each = [_metric_case(case, found, number) for number in range(1, len(case.classes) + 1)]
    scores = [score(one, metrics) for one in each]
    rows = [_row(case, whole, name, mean_of_defined([of[name] for of in scores]).value, "") for name in scores[0]]
    for class_name, one, values in zip(case.classes, each, scores, strict=True):
        rows += [_row(case, one, name, value, class_name) for name, value in values.items()]
    return rows


def _metric_case(case: PreparedCase, found: ReadPrediction, number: int | None) -> Case:
    """The masks of one class, or of all of them."""
    if number is None:
        masks, maps = (found.labels > 0, case.reference > 0), None if found.maps is None else found.lesion
    else:
        masks = (found.labels == number, case.reference == number)
        maps = None if found.maps is None else found.maps[number - 1]
    return Case(*masks, spacing_mm=case.spacing_mm, ignore=case.ignore, probability=maps)


def _row(case: PreparedCase, scored: Case, metric: str, value: float, lesion: str) -> dict[str, str]:
    return {
        "case": case.name,
        "lesion": lesion,
        "metric": metric,
        "value": "" if np.isnan(value) else repr(float(value)),
        "unit": choose(metric).unit,
        "patient": case.patient,
        "status": scored.status.value,
    }


def scores_csv(trial: TrialName, dataset: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the content of scores.csv."""
    buffer = io.StringIO()
    columns = [*COLUMNS, *(["penalised"] if any("penalised" in row for row in rows) else [])]
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    about = {"loss": trial.loss, "dataset": dataset, "fold": trial.fold, "seed": trial.seed}
    writer.writerows({"epoch": "last", "split": "test"} | dict(row) | about for row in rows)
    return buffer.getvalue()
