"""Run a plan: whatever is not finished yet, one trial after the other, each folder whole or absent."""

import shutil
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lesionloss.bench import record
from lesionloss.bench.cohort import run_cohort
from lesionloss.bench.difference import NAME
from lesionloss.bench.filling import fill_difference, fill_network
from lesionloss.bench.plan import Plan
from lesionloss.bench.pretraining import make_starts
from lesionloss.bench.storing import claim
from lesionloss.bench.trials import check_fit, fold_warnings, trials_of
from lesionloss.bench.watch import Silent, Watcher
from lesionloss.errors import UsageError
from lesionloss.files import whole_folder, write_text
from lesionloss.training.checkpoint import Saving
from lesionloss.training.trial import Trial
from lesionloss.training.way import choose_way

if TYPE_CHECKING:
    from lesionloss.bench.results import Results


def run(plan: Plan, out: str | Path, *, device: str = "cpu", watcher: Watcher | None = None) -> "Results":
    """Run every trial of `plan` that `out` does not hold yet, and return all results.

    Raises UsageError when `out` holds another plan, DataError when the data can't be used. A trial that fails is
    recorded in `KEY.failed` and the others go on.
    """
    from lesionloss.bench.results import load

    watcher = watcher or Silent()
    folder = Path(out)
    if len(plan.runs()) > 1:
        raise UsageError(f"plan {plan.name} is {len(plan.runs())} runs; take them from bench.storing.runs_of")
    claim(plan, folder)
    cohort = run_cohort(plan, folder, watcher)
    check_fit(plan, cohort)
    trials = trials_of(plan, cohort, device)
    for warning in fold_warnings(plan, cohort):
        watcher.note(warning)
    way = choose_way(trials[0].recipe, plan.network.text, len(cohort.cases[0].channels), device)
    watcher.note(way.sentence())
    make_starts(plan, trials, cohort, folder, device, watcher)
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
