"""Fill a trial's folder: train, predict the fold's test cases, score, and write everything about it."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lesionloss.bench import trial_files
from lesionloss.bench.curves import curves_of
from lesionloss.bench.difference_threshold import DifferenceSettings, difference_mask
from lesionloss.bench.plan import Plan
from lesionloss.bench.predict_case import predicted_by
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.checkpoint import CheckpointError, Saving
from lesionloss.training.execution import default_workers
from lesionloss.training.gradient_health import WARN_ABOVE
from lesionloss.training.loop import Trained, train
from lesionloss.training.observer import Looking
from lesionloss.training.pretraining import start_of
from lesionloss.training.step_log import HistoryFile, Log, together
from lesionloss.training.trial import Trial

KEPT_AFTER = (CheckpointError, UsageError, DataError, OSError, MemoryError)  # not the fault of what was trained so far


def fill_difference(trial: Trial, folder: Path, cohort: RunCohort, plan: Plan) -> None:
    """Scores of the method without a network on the fold's test cases."""
    begun = time.perf_counter()
    rows: list[dict[str, object]] = []
    for case in cohort.named(trial.test):
        mask = difference_mask(case, DifferenceSettings())
        predicted = trial_files.Predicted(mask.astype(np.float32)[None], mask.astype(np.uint8))
        trial_files.write_prediction(folder, case, predicted)
        rows += trial_files.rows_of_case(trial_files.Place(trial), case, predicted, plan.metrics)
    trial_files.write_scores(folder, rows)
    trial_files.write_trial(folder, trial, {})
    trial_files.write_machine(folder, {"total": time.perf_counter() - begun}, "cpu")


def fill_network(
    trial: Trial,
    folder: Path,
    cohort: RunCohort,
    plan: Plan,
    device: str,
    watcher: Watcher,
    saving: Saving,
    log: Log | None = None,
) -> None:
    """Train (from the last checkpoint on), predict the fold's test cases, score, and write everything about it."""
    begun = time.perf_counter()
    looking = curves_of(plan, trial, cohort, device)
    trained = trained_with_history(trial, folder, cohort, device, watcher, saving, log, looking)
    trained_at = time.perf_counter()
    rows: list[dict[str, object]] = []
    for case in cohort.named(trial.test):
        rows += judge(trial, trained, case, folder, plan, device)
    rows += trained.looks
    warning = health_warning(trial, trained)
    if warning:
        watcher.note(warning)
    trial_files.write_scores(folder, rows)
    trial_files.write_model(folder, trial, trained, cohort.cases[0], cohort.preparation)
    trial_files.write_trial(folder, trial, proofs_of(trained))
    now = time.perf_counter()
    trial_files.write_machine(
        folder, {"training": trained_at - begun, "judging": now - trained_at, "total": now - begun}, device
    )
    (folder / "log.txt").write_text(log_text(trial, trained, warning), encoding="utf-8")


def trained_with_history(
    trial: Trial,
    folder: Path,
    cohort: RunCohort,
    device: str,
    watcher: Watcher,
    saving: Saving,
    log: Log | None,
    looking: Looking | None,
) -> Trained:
    """Train and write history.csv meanwhile. Where the loss itself failed, the next try begins anew."""
    with HistoryFile(folder) as history:
        try:
            return train(
                trial,
                cohort.named(trial.train),
                device=device,
                workers=default_workers(device),
                saving=saving,
                looking=looking,
                start=start_of(trial, folder),
                after_step=together(
                    history, lambda step: watcher.step(step, trial.recipe.steps), *([log] if log else [])
                ),
            )
        except Exception as error:
            if not isinstance(error, KEPT_AFTER):
                saving.clear()
            raise


def judge(
    trial: Trial, trained: Trained, case: PreparedCase, folder: Path, plan: Plan, device: str
) -> list[dict[str, object]]:
    """Maps and scores of one test case."""
    predicted = predicted_by(trained.network, trial, case, device)
    trial_files.write_prediction(folder, case, predicted)
    return trial_files.rows_of_case(trial_files.Place(trial), case, predicted, plan.metrics)


def proofs_of(trained: Trained) -> dict[str, object]:
    """What proves that two trainings are a pair; of those that may end early, the batches' hash at every such step."""
    proofs: dict[str, object] = {"weights_hash": trained.weights_hash, "batches_hash": trained.batches_hash}
    if trained.marks:
        proofs |= {"last_step": trained.history[-1].step, "batches_hash_at": dict(_marks(trained))}
    return proofs


def _marks(trained: Trained) -> Iterator[tuple[str, str]]:
    return ((str(step), seen) for step, seen in trained.marks)


def health_warning(trial: Trial, trained: Trained) -> str:
    """A line when more than a fifth of the parameters or lesion voxels had no gradient at the last look, else empty."""
    last = trained.history[-1]
    shares = {"parameter tensors": last.zero_gradient_tensors, "lesion voxels": last.zero_gradient_lesion}
    dead = [f"{share:.0%} of the {what}" for what, share in shares.items() if share > WARN_ABOVE]
    if not dead:
        return ""
    return f"warning: {trial.loss}, fold {trial.fold}, seed {trial.seed}: no gradient for {' and '.join(dead)}"


def log_text(trial: Trial, trained: Trained, warning: str) -> str:
    first, last = trained.history[0], trained.history[-1]
    lines = [
        f"{trial.loss} on {trial.dataset}, fold {trial.fold}, seed {trial.seed}, {trial.network}",
        f"trained on {', '.join(trial.train)}; tested on {', '.join(trial.test)}",
        f"loss {first.loss:.5g} at step {first.step}, {last.loss:.5g} at step {last.step}, {last.seconds:.1f} s",
    ]
    if not math.isnan(trained.best_score):
        lines.append(f"weights of step {trained.best_step}, Dice {trained.best_score:.3f} on patients set aside")
    return "\n".join([*lines, *([warning] if warning else [])]) + "\n"
