"""Run a plan: whatever is not finished yet, one trial after the other, each folder whole or absent."""

import math
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lesionloss.bench import record
from lesionloss.bench.cohort import RunCohort, run_cohort
from lesionloss.bench.difference import NAME, DifferenceSettings, difference_mask
from lesionloss.bench.plan import Plan
from lesionloss.bench.trials import fold_warnings, trials_of
from lesionloss.bench.watch import Silent, Watcher
from lesionloss.data.prepare import PreparedCase
from lesionloss.errors import DataError, UsageError
from lesionloss.files import whole_folder, write_text
from lesionloss.inference import predict_probability
from lesionloss.training.checkpoint import CheckpointError, Saving
from lesionloss.training.health import WARN_ABOVE
from lesionloss.training.logs import HistoryFile, Log, together
from lesionloss.training.loop import Trained, train
from lesionloss.training.trial import Trial
from lesionloss.training.way import choose_way, default_workers

if TYPE_CHECKING:
    from lesionloss.bench.results import Results

KEPT_AFTER = (CheckpointError, UsageError, DataError, OSError, MemoryError)  # not the fault of what was trained so far


def run(plan: Plan, out: str | Path, *, device: str = "cpu", watcher: Watcher | None = None) -> "Results":
    """Run every trial of `plan` that `out` does not hold yet, and return all results.

    Raises UsageError when `out` holds another plan, DataError when the data can't be used. A trial that fails is
    recorded in `KEY.failed` and the others go on.
    """
    from lesionloss.bench.results import load

    watcher = watcher or Silent()
    folder = Path(out)
    claim(plan, folder)
    cohort = run_cohort(plan, folder, watcher)
    trials = trials_of(plan, cohort, device)
    for warning in fold_warnings(plan, cohort):
        watcher.note(warning)
    way = choose_way(trials[0].recipe, plan.network.text, len(cohort.cases[0].channels), device)
    watcher.note(way.sentence())
    has_difference = all("difference" in case.channels for case in cohort.cases)
    for trial in difference_trials(trials) if has_difference else ():
        attempt(trial, folder, lambda trial, at: fill_difference(trial, at, cohort, plan), watcher)
    for index, trial in enumerate(trials, 1):
        watcher.started(trial, index, len(trials))
        saving = Saving(folder / "checkpoints" / trial.key, note=watcher.note)
        fill = partial(fill_network, cohort=cohort, plan=plan, device=device, watcher=watcher, saving=saving)
        attempt(trial, folder, fill, watcher)
        if (folder / "trials" / trial.key).exists():
            saving.clear()
        watcher.ended(trial)
    return load(folder)


def claim(plan: Plan, folder: Path) -> None:
    """Store the plan in the run folder. Raises UsageError when another plan or something else is there."""
    stored = folder / "plan.toml"
    if not stored.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is not a run of lesionloss; choose another --out")
        write_text(stored, plan.to_toml())
        return
    other = Plan.load(stored)
    if other != plan:
        ours, theirs = plan.model_dump(), other.model_dump()
        changed = [key for key in ours if ours[key] != theirs[key]]
        raise UsageError(
            f"{folder} holds a run of another plan (it differs in {', '.join(changed)}); choose another --out"
        )


def difference_trials(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The method without a network, once per fold."""
    first_seed = min(trial.seed for trial in trials)
    folds = {trial.fold: trial for trial in reversed(trials) if trial.seed == first_seed}
    return tuple(replace(trial, loss=NAME, method="difference", seed=0) for trial in folds.values())


def attempt(trial: Trial, folder: Path, fill: Callable[[Trial, Path], None], watcher: Watcher) -> None:
    """Fill the trial's folder unless it is there; a failure is kept beside it and does not spread."""
    place = folder / "trials" / trial.key
    if place.exists():
        return
    failed = place.with_name(f"{trial.key}.failed")
    shutil.rmtree(failed, ignore_errors=True)
    try:
        with whole_folder(place) as unfinished:
            fill(trial, unfinished)
    except Exception as error:
        failed.mkdir(parents=True)
        record.write_trial(failed, trial, {})
        write_text(failed / "failed.txt", traceback.format_exc())
        unfinished = place.with_name(f"{trial.key}.partial")
        if (unfinished / "history.csv").exists():
            shutil.copy(unfinished / "history.csv", failed)
        shutil.rmtree(unfinished, ignore_errors=True)
        watcher.note(f"failed: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {error} (see {failed}/failed.txt)")


def fill_difference(trial: Trial, folder: Path, cohort: RunCohort, plan: Plan) -> None:
    """Scores of the method without a network on the fold's test cases."""
    begun = time.perf_counter()
    rows = []
    for case in cohort.named(trial.test):
        mask = difference_mask(case, DifferenceSettings())
        record.write_prediction(folder, case, mask.astype("float32"))
        rows += record.score_rows(trial, case, mask, plan.metrics)
    record.write_scores(folder, rows)
    record.write_trial(folder, trial, {})
    record.write_machine(folder, {"total": time.perf_counter() - begun}, "cpu")


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
    trained = trained_with_history(trial, folder, cohort, device, watcher, saving, log)
    trained_at = time.perf_counter()
    rows = []
    for case in cohort.named(trial.test):
        rows += judge(trial, trained, case, folder, plan, device)
    warning = health_warning(trial, trained)
    if warning:
        watcher.note(warning)
    record.write_scores(folder, rows)
    preparation = {"margin_voxels": plan.data.margin_voxels}
    record.write_model(folder, trial, trained, cohort.cases[0], preparation)
    record.write_trial(folder, trial, {"weights_hash": trained.weights_hash, "batches_hash": trained.batches_hash})
    now = time.perf_counter()
    record.write_machine(
        folder, {"training": trained_at - begun, "judging": now - trained_at, "total": now - begun}, device
    )
    (folder / "log.txt").write_text(log_text(trial, trained, warning), encoding="utf-8")


def trained_with_history(
    trial: Trial, folder: Path, cohort: RunCohort, device: str, watcher: Watcher, saving: Saving, log: Log | None
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
    """Probability map and scores of one test case."""
    recipe = trial.recipe
    probability = predict_probability(
        trained.network,
        case,
        window=recipe.window,
        overlap=recipe.overlap,
        precision=recipe.precision,
        device=device,
    )
    record.write_prediction(folder, case, probability)
    return record.score_rows(trial, case, probability > recipe.threshold, plan.metrics)


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
