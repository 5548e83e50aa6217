"""Scores of a run from plain arrays: what statistics and sentences make of them, without a run folder."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.metric_scores import DeclaredRules, MetricScores
from lesionloss.runs.run_records import FailedTrial, MissingTrial, RunTrial

Trial = tuple[str, int, int]  # loss, fold, seed


def made_scores(
    values: Mapping[str, NDArray[np.float64]],
    *,
    folds: int = 5,
    repeats: int = 1,
    metric: str = "dice",
    margin: float = 0.0,
    decision: str = "frequentist",
    test: str = "sign_flip",
    failed: Collection[Trial] = (),
    missing: Collection[Trial] = (),
    untrained: Collection[str] = (),
    planned: int = 0,
    worst: float | None = 0.0,
) -> MetricScores:
    """Scores of losses, from values (patients, seeds) or (repeats, patients, seeds); the first loss is the baseline.

    Patient i is tested in fold i % folds, and in repeat r in fold (i // (r + 1) + r) % folds of that repeat. NaN is an
    undefined value.
    """
    rows, trials = [], set()
    for loss, table in values.items():
        table = np.broadcast_to(table, (repeats, *table.shape[-2:]))
        for (repeat, patient, number), value in np.ndenumerate(table):
            fold = repeat * folds + ((patient // (repeat + 1) + repeat) % folds)
            seed = 0 if loss in untrained else number + 1
            trial = (loss, fold, seed)
            if trial in failed or trial in missing or (loss in untrained and number):
                continue
            trials.add(trial)
            status = "pred_empty" if np.isinf(value) else "ok"
            penalised = worst if np.isinf(value) else value
            case = f"patient{patient:02d}"
            rows.append((_key(trial), loss, case, case, fold, seed, value, penalised, "", status))
    columns = ["key", "loss", "patient", "case", "fold", "seed", "value", "penalised", "unit", "status"]
    frame = pd.DataFrame(rows, columns=columns)
    trained = [loss for loss in values if loss not in untrained]
    return MetricScores(
        facts=metric_facts(metric),
        rows=frame,
        without_lesions=frame.iloc[:0],
        classes=frame.iloc[:0],
        losses=tuple(values),
        untrained=frozenset(untrained),
        baseline=next(iter(values)),
        rules=DeclaredRules(
            test=test,
            decision=decision,
            margin=margin,
            margin_is_default=False,
            baseline=next(iter(values)),
            losses=planned or len(trained),
            trials=len(trials) + len(failed) + len(missing),
            folds=folds,
            repeats=repeats,
        ),
        worst=worst,
        trials=tuple(_trial(trial, untrained) for trial in sorted(trials)),
        failed=tuple(FailedTrial(_key(trial), *trial, "the loss became NaN") for trial in failed),
        missing=tuple(MissingTrial(*trial) for trial in missing),
        folder=Path("made"),
    )


def _key(trial: Trial) -> str:
    return "-".join(map(str, trial))


def _trial(trial: Trial, untrained: Collection[str]) -> RunTrial:
    loss, fold, seed = trial
    method = "difference_threshold" if loss in untrained else "network"
    record = {"pair": f"p{fold}{seed}", "weights_hash": f"w{fold}{seed}", "batches_hash": f"b{fold}{seed}"}
    return RunTrial(_key(trial), loss, method, fold, seed, Path("made"), record)
