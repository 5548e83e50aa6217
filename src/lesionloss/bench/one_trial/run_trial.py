"""Run one trial and write its folder: train, predict the fold's test cases, score them."""

import math
import time
from pathlib import Path

import numpy as np

from lesionloss.bench.one_trial.curves import curves_observer
from lesionloss.bench.one_trial.difference_threshold import DifferenceSettings, difference_mask
from lesionloss.bench.one_trial.predictions import Prediction, predict_test_case, write_prediction
from lesionloss.bench.one_trial.score_rows import ScoreContext, score_rows, write_scores
from lesionloss.bench.one_trial.trial_files import write_machine, write_model, write_trial
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.prepared import PreparedCase
from lesionloss.runs.results import shared_patients_warning
from lesionloss.training.checkpoint import CheckpointError, Checkpoints
from lesionloss.training.execution import default_workers
from lesionloss.training.gradient_health import WARN_ABOVE
from lesionloss.training.loop import TrainingResult, train
from lesionloss.training.observer import TrainingObserver
from lesionloss.training.pretraining import start_of
from lesionloss.training.step_log import HistoryFile, StepLog, combine_logs
from lesionloss.training.trial import Trial

# Errors that are not caused by the loss: the checkpoints are kept and the next attempt continues from them.
KEEP_CHECKPOINTS_AFTER = (CheckpointError, UsageError, DataError, OSError, MemoryError)


def run_difference_trial(trial: Trial, folder: Path, cohort: RunCohort, plan: Plan) -> None:
    """Score the difference threshold on the fold's test cases."""
    start_time = time.perf_counter()
    rows: list[dict[str, object]] = []
    for case in cohort.named(trial.test):
        mask = difference_mask(case, DifferenceSettings())
        prediction = Prediction(mask.astype(np.float32)[None], mask.astype(np.uint8))
        rows += _write_and_score(trial, case, prediction, folder, plan)
    write_scores(folder, rows)
    write_trial(folder, trial, {})
    write_machine(folder, {"total": time.perf_counter() - start_time}, "cpu")


def run_network_trial(
    trial: Trial,
    folder: Path,
    cohort: RunCohort,
    plan: Plan,
    device: str,
    watcher: Watcher,
    checkpoints: Checkpoints,
    log: StepLog | None = None,
) -> None:
    """Train from the last checkpoint on, score the fold's test cases, and write everything about the trial.

    Args:
        trial: The trial.
        folder: Where its files go.
        cohort: The cases it needs.
        plan: The plan of the run.
        device: cpu or cuda:N.
        watcher: Is notified of every step.
        checkpoints: Where and how often checkpoints are written.
        log: Is called after every step, too.
    """
    start_time = time.perf_counter()
    observer = curves_observer(plan, trial, cohort, device)
    result = _train_with_history(trial, folder, cohort, device, watcher, checkpoints, log, observer)
    trained_at = time.perf_counter()
    rows: list[dict[str, object]] = []
    for case in cohort.named(trial.test):
        prediction = predict_test_case(result.network, trial, case, device)
        rows += _write_and_score(trial, case, prediction, folder, plan)
    rows += result.observed
    warning = gradient_warning(trial, result)
    if warning:
        watcher.note(warning)
    owners = {case.name: case.patient for case in cohort.cases}
    shared = {owners.get(name, name) for name in trial.train} & {owners[name] for name in trial.test}
    write_scores(folder, rows)
    write_model(folder, trial, result, cohort.cases[0], cohort.preparation)
    write_trial(folder, trial, pairing_hashes(result))
    now = time.perf_counter()
    seconds = {"training": trained_at - start_time, "scoring": now - trained_at, "total": now - start_time}
    write_machine(folder, seconds, device)
    (folder / "log.txt").write_text(
        _log_text(trial, result, warning, shared_patients_warning(shared)), encoding="utf-8"
    )


def _train_with_history(
    trial: Trial,
    folder: Path,
    cohort: RunCohort,
    device: str,
    watcher: Watcher,
    checkpoints: Checkpoints,
    log: StepLog | None,
    observer: TrainingObserver | None,
) -> TrainingResult:
    """Train and write history.csv meanwhile. Where the loss itself failed, the next attempt starts anew."""
    with HistoryFile(folder) as history:
        notify = combine_logs(history, lambda step: watcher.step(step, trial.recipe.steps), *([log] if log else []))
        try:
            return train(
                trial,
                cohort.named(trial.train),
                device=device,
                workers=default_workers(device),
                checkpoints=checkpoints,
                observer=observer,
                start=start_of(trial, folder),
                after_step=notify,
            )
        except Exception as error:
            if not isinstance(error, KEEP_CHECKPOINTS_AFTER):
                checkpoints.clear()
            raise


def _write_and_score(
    trial: Trial, case: PreparedCase, prediction: Prediction, folder: Path, plan: Plan
) -> list[dict[str, object]]:
    write_prediction(folder, case, prediction)
    return score_rows(ScoreContext(trial, plan.data.shown_dataset(trial.dataset)), case, prediction, plan.metrics)


def pairing_hashes(result: TrainingResult) -> dict[str, object]:
    """Return the hashes that prove that two training runs are a pair.

    Of a run that may stop early, they include the batches' hash at every step at which it might have stopped.
    """
    hashes: dict[str, object] = {"weights_hash": result.weights_hash, "batches_hash": result.batches_hash}
    if result.stop_points:
        at_steps = {str(step): digest for step, digest in result.stop_points}
        hashes |= {"last_step": result.history[-1].step, "batches_hash_at": at_steps}
    return hashes


def gradient_warning(trial: Trial, result: TrainingResult) -> str:
    """Return a warning where over a fifth of the parameters or lesion voxels had no gradient when last measured."""
    last = result.history[-1]
    shares = {"parameter tensors": last.zero_gradient_tensors, "lesion voxels": last.zero_gradient_lesion}
    without = [f"{share:.0%} of the {what}" for what, share in shares.items() if share > WARN_ABOVE]
    if not without:
        return ""
    return f"warning: {trial.loss}, fold {trial.fold}, seed {trial.seed}: no gradient for {' and '.join(without)}"


def _log_text(trial: Trial, result: TrainingResult, *warnings: str) -> str:
    first, last = result.history[0], result.history[-1]
    lines = [
        f"{trial.loss} on {trial.dataset}, fold {trial.fold}, seed {trial.seed}, {trial.network}",
        f"trained on {', '.join(trial.train)}; tested on {', '.join(trial.test)}",
        f"loss {first.loss:.5g} at step {first.step}, {last.loss:.5g} at step {last.step}, {last.seconds:.1f} s",
    ]
    if not math.isnan(result.best_score):
        score = f"{trial.recipe.monitor} {abs(result.best_score):.3f}"
        lines.append(f"weights of step {result.best_step}, {score} on validation cases")
    return "\n".join([*lines, *filter(None, warnings)]) + "\n"
