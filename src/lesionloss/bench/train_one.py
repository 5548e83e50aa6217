"""One trial in a folder of its own: its files, the plan, the prepared patients, and a checkpoint meanwhile."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionloss.bench.plan import Plan
from lesionloss.bench.plan_storage import LOSSES, claim
from lesionloss.bench.pretrained_starts import make_starts
from lesionloss.bench.run_cohort import RunCohort, run_cohort
from lesionloss.bench.run_trial import fill_network
from lesionloss.bench.trials import check_fit, code_of, recipe_of, trials_of
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.training.checkpoint import Saving
from lesionloss.training.execution import choose_way
from lesionloss.training.pretraining import FOLDER
from lesionloss.training.step_log import EventFile, tensorboard_installed
from lesionloss.training.trial import Trial

CHECKPOINT = "checkpoint"
ALL = -1  # as a fold: everybody is learned from, nobody is tested
WRITTEN = (
    *("plan.toml", "cohort", "synthetic", LOSSES, FOLDER, "checkpoints", CHECKPOINT, "trial.toml", "machine.json"),
    *("history.csv", "scores.csv", "model.safetensors", "model.json", "predictions", "log.txt", "tensorboard"),
)


@dataclass(frozen=True)
class Asked:
    """What is to be trained: a plan of one loss and one seed, the fold (`ALL`: everybody), where, and how safely."""

    plan: Plan
    fold: int
    out: Path
    device: str
    checkpoint_seconds: float = 120.0


def make_ready(asked: Asked, *, resume: bool, force: bool) -> bool:
    """Claim the folder; whether this call is the one that began it.

    Raises UsageError when it holds something that was not to be continued or replaced.
    """
    out = asked.out
    if force:
        _clear(out, WRITTEN)
    if finished(out):
        raise UsageError(f"{out} holds a finished training; --force trains it anew, or choose another --out")
    if not resume and any((out / name).exists() for name in (CHECKPOINT, "history.csv")):
        raise UsageError(f"{out} holds an unfinished training; --resume continues it, --force begins anew")
    return claim(asked.plan, out)


def withdraw(out: Path) -> None:
    """Take a training that was refused out of the folder that it began, unless something in there took work.

    That is a prepared patient or a step of training. Only for the call that began the folder: before, it was empty.
    """
    if not (out / CHECKPOINT).exists() and not any((out / "cohort").glob("*.npz")):
        _clear(out, [name for name in WRITTEN if name != LOSSES])  # a folder of that name may have been there before
        with contextlib.suppress(OSError):
            out.rmdir()


def _clear(out: Path, names: Sequence[str]) -> None:
    for name in names:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def finished(out: Path) -> bool:
    """Whether a folder holds a whole training."""
    return (out / "model.json").exists() and (out / "log.txt").exists() and not (out / CHECKPOINT).exists()


def train_one(asked: Asked, watcher: Watcher) -> Trial:
    """Prepare the patients, train, and write what a trial's folder holds; gives the trial.

    Raises UsageError when the plan or the fold doesn't fit, DataError when the data can't be used, TrainingFailed.
    """
    cohort = run_cohort(asked.plan, asked.out, watcher)
    check_fit(asked.plan, cohort)
    trial = trial_of(asked, cohort)
    way = choose_way(trial.recipe, trial.network, len(cohort.cases[0].channels), asked.device)
    watcher.note(way.sentence())
    make_starts(asked.plan, (trial,), cohort, asked.out, asked.device, watcher)
    watcher.started(trial, 1, 1)
    saving = Saving(asked.out / CHECKPOINT, every_seconds=asked.checkpoint_seconds, note=watcher.note)
    with EventFile(asked.out) if tensorboard_installed() else contextlib.nullcontext() as events:
        fill_network(trial, asked.out, cohort, asked.plan, asked.device, watcher, saving, events)
    saving.clear()
    watcher.ended(trial)
    return trial


def trial_of(asked: Asked, cohort: RunCohort) -> Trial:
    """The trial that is asked for. Raises UsageError for a fold that isn't there."""
    plan = asked.plan
    if asked.fold == ALL:
        return Trial(
            loss=plan.losses[0],
            dataset=cohort.dataset,
            target=cohort.target,
            network=plan.network.text,
            fold=ALL,
            seed=plan.seeds[0],
            train=tuple(case.name for case in cohort.cases),
            test=(),
            recipe=recipe_of(plan, asked.device, cohort.cases),
            loss_sha256=code_of(plan.losses[0]),
        )
    if asked.fold >= plan.folds:
        raise UsageError(f"--fold must be all or a number from 0 to {plan.folds - 1}, got {asked.fold}")
    found: Sequence[Trial] = trials_of(plan, cohort, asked.device)
    return next(trial for trial in found if trial.fold == asked.fold)
