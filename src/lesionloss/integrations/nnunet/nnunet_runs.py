"""The training runs of a plan, one after the other in a process each; finished ones stay, started ones continue."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from lesionloss.collecting import collect
from lesionloss.collecting.found_predictions import Mismatch
from lesionloss.core.errors import DataError
from lesionloss.core.locks import acquire_lock
from lesionloss.integrations.nnunet import one_training
from lesionloss.integrations.nnunet.installation import folder_of, raw_images
from lesionloss.integrations.nnunet.pairing_proof import FILE
from lesionloss.integrations.nnunet.stored_losses import store_loss
from lesionloss.integrations.nnunet.trainer_names import TrainerName
from lesionloss.integrations.nnunet.training_plan import NnunetPlan, check_data
from lesionloss.runs.results import Results

CHECKPOINTS = tuple(f"checkpoint_{name}.pth" for name in ("final", "latest", "best"))
LOG, LOCK = "lesionloss_output.txt", "lesionloss.lock"
LAST_LINES = 3


@dataclass(frozen=True)
class NnunetTrainingRun:
    """One training run of a plan.

    Attributes:
        trainer: The name of its class.
        folder: The fold's folder in `nnUNet_results`.
    """

    loss: str
    fold: int
    seed: int
    trainer: str
    folder: Path

    def __str__(self) -> str:
        """How it is named in messages and logs."""
        return f"fold {self.fold}, seed {self.seed}, {self.loss}"

    @property
    def finished(self) -> bool:
        """Whether it is trained and validated; nnU-Net writes the summary last."""
        return (self.folder / FILE).is_file() and (self.folder / "validation" / "summary.json").is_file()

    @property
    def started(self) -> bool:
        """Whether it can continue from a checkpoint, to the weights that it would have had without a stop."""
        return (self.folder / FILE).is_file() and any((self.folder / name).is_file() for name in CHECKPOINTS)


def training_runs_of(plan: NnunetPlan) -> list[NnunetTrainingRun]:
    """All training runs of a plan, every loss of a fold and seed in turn, so that a stopped run has whole pairs.

    Raises:
        UsageError: The plan does not fit what nnU-Net has preprocessed.
    """
    dataset, results = check_data(plan), folder_of("nnUNet_results")
    lengths = (plan.epochs, plan.iterations, plan.validation_iterations)
    keys = {loss: store_loss(loss) for loss in plan.losses}
    found = []
    for fold, seed, loss in product(plan.folds, plan.seeds, plan.losses):
        name = str(TrainerName(keys[loss], seed, *lengths))
        folder = results / dataset / f"{name}__{plan.plans}__{plan.configuration}" / f"fold_{fold}"
        found.append(NnunetTrainingRun(loss, fold, seed, name, folder))
    return found


def train_all(plan: NnunetPlan, say: Callable[[str], None]) -> list[NnunetTrainingRun]:
    """Carry out the training runs of a plan that are not finished.

    Several processes may work on one plan: each takes what no other is at.

    Args:
        plan: The plan.
        say: Gets a line for each training run that begins or ends.

    Returns:
        All training runs of the plan.

    Raises:
        UsageError: The plan does not fit what nnU-Net has preprocessed.
        DataError: A training run failed; the others were carried out, or another process is at one.
    """
    found = training_runs_of(plan)
    failed = []
    for number, run in enumerate(found, 1):
        lock = None if run.finished else acquire_lock(run.folder / LOCK)
        if lock is None:
            continue
        with lock:
            say(f"{number} of {len(found)}: {run}{', continued' if run.started else ''}")
            if error := _train(plan, run):
                failed.append(run)
                say(error)
    if failed:
        names = "; ".join(map(str, failed))
        raise DataError(
            f"{len(failed)} of {len(found)} training runs failed: {names}; the same command tries them again"
        )
    if at_work := [run for run in found if not run.finished]:
        raise DataError(
            f"another process trains {'; '.join(map(str, at_work))}; give the same command again when it ended"
        )
    return found


def score_all(
    plan: NnunetPlan, runs: list[NnunetTrainingRun], out: Path, notify: Callable[[Mismatch], None]
) -> Results:
    """Score the validation predictions of finished training runs into a run folder.

    Args:
        plan: The plan.
        runs: All its training runs.
        out: The run folder.
        notify: Gets what does not fit.

    Raises:
        UsageError: The folder holds something else.
        DataError: Predictions can't be read.
    """
    results = runs[0].folder.parent.parent
    return collect(
        out,
        nnunet=results,
        models=sorted({run.folder.parent.name for run in runs}),
        references=folder_of("nnUNet_preprocessed") / results.name / "gt_segmentations",
        images=raw_images(results.name) or "",
        metrics=list(dict.fromkeys([plan.primary_metric, *plan.metrics])),
        baseline=plan.baseline_loss,
        notify=notify,
    )


def _train(plan: NnunetPlan, run: NnunetTrainingRun) -> str:
    """Train in a process of its own; what went wrong, or an empty text."""
    words = [plan.dataset, plan.configuration, str(run.fold), "-tr", run.trainer, "-p", plan.plans]
    words += ["-device", plan.device, *(["--c"] if run.started else [])]
    words += ["--npz"] if plan.probabilities else []
    log = run.folder / LOG
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", one_training.__name__, *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with process:  # at its end, the input of the process is closed
            ended = process.wait()
    if ended == 0 and run.finished:
        return ""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"{run} failed (exit code {ended}): {' | '.join(lines[-LAST_LINES:])}; log: {log}"
