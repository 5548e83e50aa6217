"""Curves of training runs in the programs that show them: TensorBoard, MLflow, Weights & Biases. Files, no network.

MLflow writes to a server, and Weights & Biases to its own, only where the user's environment says so
(MLFLOW_TRACKING_URI, WANDB_MODE); their reports about usage and errors are switched off.
"""

import contextlib
import hashlib
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Protocol

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.extras import require
from lesionloss.core.locks import hold_lock
from lesionloss.training.state import Step

StepLog = Callable[[Step], None]
WAITING = 600  # numbers that MLflow gets at once


class Tracker(Protocol):
    """What shows the curves of one training run."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Take one number of a step."""

    def close(self) -> None:
        """Write what waits; the training run has ended."""


@dataclass(frozen=True)
class TrackedRun:
    """A training run as trackers show it.

    Attributes:
        folder: Where files go, in a folder named after the tracker.
        project: What its runs are grouped under: the name of the plan.
        title: How it is called, such as "dice, fold 0, seed 1".
        key: Of the trial.
        facts: Loss, fold, seed and network.
        alone: Whether the folder holds no other training run.
    """

    folder: Path
    project: str
    title: str
    key: str
    facts: Mapping[str, str | int]
    alone: bool = False


class TensorBoardTracker:
    """Event files in FOLDER/tensorboard; what was there before of the run is removed."""

    def __init__(self, run: TrackedRun) -> None:
        """Create the folder."""
        from torch.utils.tensorboard import SummaryWriter

        name = re.sub(r"[^\w.+*()=-]+", "_", run.title)[:100]
        place = run.folder / "tensorboard" / ("" if run.alone else f"{name}_{run.key[:6]}")
        shutil.rmtree(place, ignore_errors=True)
        self._writer = SummaryWriter(str(place))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write a number."""
        self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


class MlflowTracker:
    """A run in the database FOLDER/mlflow/mlflow.db, or on the server that MLFLOW_TRACKING_URI names."""

    def __init__(self, run: TrackedRun) -> None:
        """Start the run; in the own database, an earlier one of the same trial is marked as deleted."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for library in ("mlflow", "alembic"):
            logging.getLogger(library).setLevel(logging.WARNING)

        server = os.environ.get("MLFLOW_TRACKING_URI")
        self._folder = None if server else run.folder / "mlflow"
        with self._by_itself():
            self._client = MlflowClient(tracking_uri=server or f"sqlite:///{run.folder.resolve()}/mlflow/mlflow.db")
            found = self._client.get_experiment_by_name(run.project)
            place = None if server else (run.folder / "mlflow" / "artifacts").resolve().as_uri()
            number = found.experiment_id if found else self._client.create_experiment(run.project, place)
            if not server:
                for old in self._client.search_runs([number], f"tags.lesionloss_trial = '{run.key}'"):
                    self._client.delete_run(old.info.run_id)
            tags = {"lesionloss_trial": run.key, **{name: str(fact) for name, fact in run.facts.items()}}
            self._run = self._client.create_run(number, tags=tags, run_name=run.title).info.run_id
        self._waiting: list[tuple[str, float, int, int]] = []

    def scalar(self, name: str, value: float, step: int) -> None:
        """Keep a number, and write all when there are many."""
        self._waiting.append((name, value, int(time.time() * 1000), step))
        if len(self._waiting) >= WAITING:
            self._write()

    def close(self) -> None:
        """Write the rest and end the run."""
        self._write()
        with self._by_itself():
            self._client.set_terminated(self._run)

    def _write(self) -> None:
        from mlflow.entities import Metric

        waiting, self._waiting = self._waiting, []
        with self._by_itself():
            self._client.log_batch(self._run, metrics=[Metric(*each) for each in waiting])

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[None]:
        """Let one process at a time write to the database; a server sees to that itself."""
        if self._folder is None:
            yield
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._folder / "lock"):
            yield


class WandbTracker:
    """An offline run in FOLDER/wandb/KEY, for `wandb sync`; online where WANDB_MODE says so."""

    def __init__(self, run: TrackedRun) -> None:
        """Start the run; what was there before of the trial is removed."""
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        place = run.folder / "wandb" / run.key
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self._run = wandb.init(
            project=re.sub(r"[/\\#?%:]", "-", run.project),
            name=run.title,
            id=f"{run.key}-{hashlib.sha256(str(run.folder.resolve()).encode()).hexdigest()[:8]}",
            config=dict(run.facts),
            dir=str(place),
            reinit="create_new",  # losses of a pair train side by side
            resume=None if os.environ["WANDB_MODE"] == "offline" else "allow",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )

    def scalar(self, name: str, value: float, step: int) -> None:
        """Take a number; those of a step are written together."""
        self._run.log({name: value}, step=step)

    def close(self) -> None:
        """Write the rest and end the run."""
        self._run.finish()


TRACKERS: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}


def check_tracker(name: str) -> None:
    """Check that a tracker is known and installed; "" is none.

    Raises:
        UsageError: It is not known.
        MissingExtraError: Its package is not installed.
    """
    if name and name not in TRACKERS:
        raise UsageError(f"--track: no {name!r}; {nearest(name, list(TRACKERS))}")
    if name:
        require(name, f"--track {name}")


@contextlib.contextmanager
def tracked(name: str, run: TrackedRun, note: Callable[[str], None]) -> Iterator[StepLog]:
    """Show every step of a training run in a tracker; one that fails is left out, and training goes on.

    Args:
        name: One of TRACKERS.
        run: The training run.
        note: Is told why a tracker was left out.
    """
    trackers: list[Tracker] = []

    def attempt(action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever a foreign program raises
            trackers.clear()
            note(f"{name} shows no more of {run.title}: {type(error).__name__}: {error}")

    def log_step(step: Step) -> None:
        for tracker in tuple(trackers):
            attempt(partial(_log, tracker, step))

    attempt(lambda: trackers.append(TRACKERS[name](run)))
    try:
        yield log_step
    finally:
        for tracker in tuple(trackers):
            attempt(tracker.close)


def _log(tracker: Tracker, step: Step) -> None:
    for field in fields(Step):
        value = getattr(step, field.name)
        if field.name not in ("step", "seconds") and not math.isnan(value):
            tracker.scalar(field.name, value, step.step)
