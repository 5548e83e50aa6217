"""Run one trial and write its folder: train, predict the fold's test cases, score them."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from lesionloss.bench.one_trial.curves import curves_observers
from lesionloss.bench.one_trial.predictions import Prediction, predict_test_case, write_prediction
from lesionloss.bench.one_trial.score_rows import ScoreContext, score_rows, write_scores
from lesionloss.bench.one_trial.trial_files import write_machine, write_model, write_trial
from lesionloss.bench.open_trial import LockLost
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import RunCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.overlapping import overlapped
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.difference_threshold import read_difference_threshold
from lesionloss.runs.results import shared_patients_warning
from lesionloss.training.checkpoint import CheckpointError, Checkpoints
from lesionloss.training.execution import default_workers
from lesionloss.training.gradient_health import WARN_ABOVE
from lesionloss.training.loop import TrainingResult, TrialToTrain, train_together
from lesionloss.training.observer import TrainingObserver
from lesionloss.training.pretraining import start_of
from lesionloss.training.step_log import HistoryFile, combine_logs
from lesionloss.training.step_modes import EAGER
from lesionloss.training.trackers import StepLog, TrackedRun
from lesionloss.training.trial import Trial

# Errors that are not caused by the loss: the checkpoints are kept and the next attempt continues from them.
KEEP_CHECKPOINTS_AFTER = (CheckpointError, UsageError, DataError, OSError, MemoryError, LockLost)

OpenLog = Callable[[], contextlib.AbstractContextManager[StepLog]]


def run_difference_trial(trial: Trial, folder: Path, cohort: RunCohort, plan: Plan) -> None:
    """Score the plan's method without training on the fold's test cases."""
    comparator = read_difference_threshold(plan.comparator)
    start_time = time.perf_counter()
    rows: list[dict[str, object]] = []
    for case in cohort.named(trial.test):
        mask = comparator.mask(case)
        prediction = Prediction(mask.astype(np.float32)[None], mask.astype(np.uint8))
        rows += _write_and_score(trial, case, prediction, folder, plan)
    write_scores(folder, rows)
    write_trial(folder, trial, {})
    write_machine(folder, {"total": time.perf_counter() - start_time}, "cpu")


@dataclass(frozen=True)
class NetworkTrial:
    """A trial of a network, and who is notified of its training.

    Attributes:
        trial: The trial.
        folder: Where its files go.
        watcher: Is notified of every step.
        checkpoints: Where and how often checkpoints are written.
        logs: Open further logs of steps, which are closed after the training run.
    """

    trial: Trial
    folder: Path
    watcher: Watcher
    checkpoints: Checkpoints
    logs: tuple[OpenLog, ...] = ()


def run_network_trial(
    work: NetworkTrial, cohort: RunCohort, plan: Plan, device: str, *, batches_on_cpu: bool = False
) -> None:
    """Train from the last checkpoint on, score the fold's test cases, and write everything about the trial.

    Args:
        work: The trial.
        cohort: The cases it needs.
        plan: The plan of the run.
        device: cpu or cuda:N.
        batches_on_cpu: See `train_networks`.
    """
    (result,) = train_networks([work], cohort, plan, device, batches_on_cpu=batches_on_cpu)
    finish_network_trial(work, result, cohort, plan, device)


def train_networks(
    works: Sequence[NetworkTrial],
    cohort: RunCohort,
    plan: Plan,
    device: str,
    *,
    processes: int = 1,
    step_mode: str = EAGER,
    batches_on_cpu: bool = False,
) -> list[TrainingResult | Exception]:
    """Train trials of one pair side by side and write the history.csv of each meanwhile.

    Where a loss itself failed, the next attempt starts anew.

    Args:
        works: The trials.
        cohort: The cases they need.
        plan: The plan of the run.
        device: cpu or cuda:N.
        processes: How many processes share the cores of this machine.
        step_mode: How steps are computed, see `training.step_modes`.
        batches_on_cpu: Whether batches are made in main memory even where the cases fit on a GPU.

    Returns:
        For each trial what training returned, or the error that ended it.
    """
    with contextlib.ExitStack() as files:
        observers = curves_observers(plan, [work.trial for work in works], cohort, device)
        orders = [_order(*each, files) for each in zip(works, observers, strict=True)]
        cases = cohort.named(works[0].trial.train)
        workers = default_workers(device, processes)
        results = train_together(
            orders, cases, device=device, workers=workers, step_mode=step_mode, batches_on_cpu=batches_on_cpu
        )
    for work, result in zip(works, results, strict=True):
        if isinstance(result, Exception) and not isinstance(result, KEEP_CHECKPOINTS_AFTER):
            work.checkpoints.clear()
    return results


def _order(work: NetworkTrial, observer: TrainingObserver | None, files: contextlib.ExitStack) -> TrialToTrain:
    trial = work.trial
    history = files.enter_context(HistoryFile(work.folder))
    others = [files.enter_context(open_log()) for open_log in work.logs]
    log = combine_logs(history, partial(work.watcher.step, trial), *others)
    return TrialToTrain(trial, work.checkpoints, observer, log, start_of(trial, work.folder))


def shown_run(trial: Trial, folder: Path, project: str, *, alone: bool = False) -> TrackedRun:
    """Return a trial as trackers show it; they learn no names of cases."""
    fold = trial.fold if trial.fold >= 0 else "all"
    title = f"{trial.loss}, fold {fold}, seed {trial.seed}"
    facts: dict[str, str | int] = {"loss": trial.loss, "fold": fold, "seed": trial.seed, "network": trial.network}
    return TrackedRun(folder, project, title, trial.key, facts, alone)


def finish_network_trial(
    work: NetworkTrial, result: TrainingResult | Exception, cohort: RunCohort, plan: Plan, device: str
) -> None:
    """Score the fold's test cases and write everything about a trained network.

    Args:
        work: The trial.
        result: What its training returned; an error is raised.
        cohort: The cases it needs.
        plan: The plan of the run.
        device: cpu or cuda:N.
    """
    if isinstance(result, Exception):
        raise result
    trial, folder = work.trial, work.folder
    start_time = time.perf_counter()
    predict = partial(predict_test_case, result.network, trial, device=device)
    scored = overlapped(
        cohort.named(trial.test), predict, lambda case, found: _write_and_score(trial, case, found, folder, plan)
    )
    rows: list[dict[str, object]] = [*chain.from_iterable(scored), *result.observed]
    warning = gradient_warning(trial, result)
    if warning:
        work.watcher.note(warning)
    owners = {case.name: case.patient for case in cohort.cases}
    shared = {owners.get(name, name) for name in trial.train} & {owners[name] for name in trial.test}
    write_scores(folder, rows)
    write_model(folder, trial, result, cohort.cases[0], cohort.preparation)
    write_trial(folder, trial, pairing_hashes(result))
    scoring = time.perf_counter() - start_time
    seconds = {"training": result.seconds, "scoring": scoring, "total": result.seconds + scoring}
    write_machine(folder, seconds, device, result.step_mode, result.cohort_on_device)
    (folder / "log.txt").write_text(
        _log_text(trial, result, warning, shared_patients_warning(shared)), encoding="utf-8"
    )


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
