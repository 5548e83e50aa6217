"""Execute one trial, in any process: lock it, train it from its checkpoint on, score it, write its folder, release it.

Every engine calls `execute_trial`; engines differ only in where they call it.
"""

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import tomli_w
import torch

from lesionloss.bench.bookkeeping.failures import Failure, cause_of, read_failure, remove_failure, write_failure
from lesionloss.bench.bookkeeping.trial_list import read_trial_list
from lesionloss.bench.one_trial.run_trial import run_difference_trial, run_network_trial
from lesionloss.bench.one_trial.trial_files import write_manifest
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import ListedCohort, RunCohort, read_run_cohort
from lesionloss.bench.watcher import SilentWatcher, Watcher
from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.core.devices import resolve_device
from lesionloss.core.files import atomic_folder
from lesionloss.core.locks import Lock, acquire_lock, wait_until_free
from lesionloss.data.prepared import PreparedCase
from lesionloss.runs.results import DIFFERENCE_THRESHOLD
from lesionloss.training.arithmetic import set_arithmetic
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.execution import GROWTH
from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial, flat_record


@dataclass(frozen=True)
class RunContext:
    """What a worker needs beside the key of its trial.

    Attributes:
        folder: The run folder.
        device: cpu or cuda:N of the worker; auto: its first GPU if it has one.
        call: Identifies this call of `bench`; a trial that failed in it is not tried again in it.
        checkpoint_seconds: Time between two checkpoints.
        deterministic: Whether all bits must repeat on a GPU, see `training.arithmetic`.
    """

    folder: Path
    device: str
    call: str
    checkpoint_seconds: float = 120.0
    deterministic: bool = False

    def lock_path(self, key: str) -> Path:
        """Return the lock of a trial."""
        return self.folder / "locks" / key

    def done(self, key: str) -> bool:
        """Return whether a trial is finished."""
        return (self.folder / "trials" / key).is_dir()

    def failed(self, key: str) -> bool:
        """Return whether a trial failed in this call, in any process."""
        failure = read_failure(self.folder, key)
        return failure is not None and failure.call == self.call

    def checkpoints(self, key: str) -> Checkpoints:
        """Return where and how often a trial's checkpoints are written."""
        return Checkpoints(self.folder / "checkpoints" / key, every_seconds=self.checkpoint_seconds)


class Outcome(Enum):
    """The outcome of a trial, as the exit code of its process."""

    DONE = 0
    FAILED = 1
    BUSY = 75  # another process works on it


@dataclass
class CaseReader:
    """Reads prepared cases when a trial first needs them; `keep` keeps them for the next trials."""

    listed: ListedCohort
    keep: bool = False
    _read: dict[str, PreparedCase] = field(default_factory=dict)

    def of(self, trial: Trial) -> RunCohort:
        """Return the cases that a trial is trained and tested on.

        Raises:
            DataError: A file is damaged or missing.
        """
        return self.listed.read({*trial.train, *trial.test}, self._load)

    def _load(self, name: str) -> PreparedCase:
        if not self.keep:
            return self.listed.load(name)
        if name not in self._read:
            self._read[name] = self.listed.load(name)
        return self._read[name]


class LockLost(Exception):
    """Another process has taken this trial over, because this one did not touch its lock for long."""


class LockCheckingWatcher(SilentWatcher):
    """Passes notes and steps on, keeps the notes, and stops a trial whose lock was lost."""

    def __init__(self, watcher: Watcher, lock: Lock) -> None:
        """Wrap `watcher` for a trial that `lock` protects."""
        self._watcher = watcher
        self._lock = lock
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep the line and pass it on."""
        self.notes.append(text)
        self._watcher.note(text)

    def step(self, step: Step, steps: int) -> None:
        """Pass the step on.

        Raises:
            LockLost: Another process has taken the trial over.
        """
        if self._lock.lost:
            raise LockLost
        self._watcher.step(step, steps)


def execute_trial(
    context: RunContext, key: str, watcher: Watcher | None = None, cases: CaseReader | None = None
) -> Outcome:
    """Execute a trial unless it is done, has failed in this call, or another process works on it.

    A failure is recorded in KEY.failed and does not affect other trials.

    Args:
        context: The run and this call of `bench`.
        key: The trial.
        watcher: Is notified of the progress.
        cases: Reads the prepared cases; shared by the trials of one process.

    Raises:
        UsageError: The run has no such trial.
        OSError: Not even a failure can be written.
    """
    context = replace(context, device=resolve_device(context.device))
    trial_list = read_trial_list(context.folder)
    trial = trial_list.trial(key)
    if context.done(key):
        return Outcome.DONE
    if context.failed(key):
        return Outcome.FAILED
    lock = acquire_lock(context.lock_path(key))
    if lock is None:
        return Outcome.BUSY
    with lock:
        if context.done(key):
            return Outcome.DONE
        remove_failure(context.folder, key)
        checking = LockCheckingWatcher(watcher or SilentWatcher(), lock)
        try:
            if context.device == "cpu" and GROWTH * trial_list.step_bytes <= free_memory():
                keep_freed_memory()
            with (
                atomic_folder(context.folder / "trials" / key, keep_on_error=True) as unfinished,
                set_arithmetic(context.device, context.deterministic),
            ):
                _run(context, trial, unfinished, checking, cases or CaseReader(read_run_cohort(context.folder)))
                _add_notes(unfinished / "log.txt", checking.notes)
                write_manifest(unfinished, key, context.folder)
                if not lock.is_ours():
                    raise LockLost
        except Exception as error:
            if isinstance(error, LockLost) or not lock.is_ours():
                return Outcome.BUSY
            record_failure(context, trial, Failure(cause_of(error), traceback.format_exc(), context.call))
            return Outcome.FAILED
        context.checkpoints(key).clear()
        return Outcome.DONE


def execute_or_wait(context: RunContext, key: str) -> Outcome:
    """Execute a trial; where another process holds its lock, wait until it is seen to work or its lock is free."""
    while True:
        outcome = execute_trial(context, key)
        if outcome is not Outcome.BUSY or not wait_until_free(context.lock_path(key)):
            return outcome


def _run(context: RunContext, trial: Trial, folder: Path, watcher: Watcher, cases: CaseReader) -> None:
    """Run a trial and write everything that its folder holds."""
    plan = Plan.load(context.folder / "plan.toml")
    if trial.method == DIFFERENCE_THRESHOLD:
        run_difference_trial(trial, folder, cases.of(trial), plan)
        return
    checkpoints = replace(context.checkpoints(trial.key), note=watcher.note)
    run_network_trial(trial, folder, cases.of(trial), plan, context.device, watcher, checkpoints)


def _add_notes(log: Path, notes: Sequence[str]) -> None:
    """Add the notes that are not in a trial's log yet."""
    known = log.read_text(encoding="utf-8") if log.is_file() else ""
    missing = [note for note in notes if note not in known]
    if missing:
        log.write_text(known + "\n".join(missing) + "\n", encoding="utf-8")


def record_failure(context: RunContext, trial: Trial, failure: Failure) -> None:
    """Record that a trial failed.

    Raises:
        OSError: The record can't be written.
    """
    write_failure(context.folder, trial.key, tomli_w.dumps(flat_record(trial)), failure)


@contextlib.contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Let torch use this many CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
