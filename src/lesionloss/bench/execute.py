"""One trial, wherever it is: claimed, trained from its checkpoint on, scored, written whole, released.

Every engine calls `execute`; they differ only in who calls it where.
"""

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import tomli_w
import torch

from lesionloss.bench.failures import Failure, cause_of, forget_failure, keep_failure, read_failure
from lesionloss.bench.locks import Claim, comes_free, take
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import ListedCohort, RunCohort, found_cohort
from lesionloss.bench.run_trial import fill_difference, fill_network
from lesionloss.bench.status import Status, TrialStatus
from lesionloss.bench.trial_list import read_agenda
from lesionloss.bench.watcher import Silent, Watcher
from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.core.files import whole_folder
from lesionloss.data.prepared import PreparedCase, load_prepared
from lesionloss.runs.results import DIFFERENCE_THRESHOLD
from lesionloss.training.checkpoint import Saving
from lesionloss.training.execution import GROWTH
from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial, flat_record


@dataclass(frozen=True)
class Order:
    """What a worker is told beside the key of its trial: where the run is, and how this call of `bench` works on it.

    `device`: cpu or cuda:N of the worker. `call`: a trial that failed in it is not tried again in it.
    """

    folder: Path
    device: str
    call: str
    checkpoint_seconds: float = 120.0

    def claim_of(self, key: str) -> Path:
        return self.folder / "claims" / key

    def done(self, key: str) -> bool:
        return (self.folder / "trials" / key).is_dir()

    def failed(self, key: str) -> bool:
        """Whether it has failed in this call, here or elsewhere."""
        failure = read_failure(self.folder, key)
        return failure is not None and failure.call == self.call


class Outcome(Enum):
    """What became of a trial, as the exit code of a process that was started for it."""

    DONE = 0
    FAILED = 1
    BUSY = 75  # another process is at it


@dataclass
class Cases:
    """The prepared cases of a run, each read when a trial first needs it, and kept if several trials will."""

    listed: ListedCohort
    keep: bool = False
    _read: dict[str, PreparedCase] = field(default_factory=dict)

    def of(self, trial: Trial) -> RunCohort:
        """Those that the trial learns from or is tested on. Raises DataError where a file is damaged or gone."""
        listed, cases = self.listed, tuple(self._cases({*trial.train, *trial.test}))
        return RunCohort(listed.dataset, listed.target, listed.loads, cases, listed.preparation)

    def _cases(self, names: set[str]) -> Sequence[PreparedCase]:
        known = self._read if self.keep else {}
        wanted = [entry.name for entry in self.listed.cases if entry.name in names]
        for name in wanted:
            if name not in known:
                known[name] = load_prepared(self.listed.folder / f"{name}.npz")
        return [known[name] for name in wanted]


class ClaimLost(Exception):
    """Another process has taken this trial over, because this one had not moved for long."""


class Guarded:
    """Tells another watcher of everything, keeps the notes, and stops a trial that isn't this process's any more."""

    def __init__(self, watcher: Watcher, claim: Claim) -> None:
        self._watcher = watcher
        self._claim = claim
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._watcher.note(text)

    def cohort(self, name: str, done: int, total: int) -> None:
        self._watcher.cohort(name, done, total)

    def started(self, trial: Trial, index: int, total: int) -> None:
        self._watcher.started(trial, index, total)

    def step(self, step: Step, steps: int) -> None:
        if self._claim.lost:
            raise ClaimLost
        self._watcher.step(step, steps)

    def ended(self, trial: Trial) -> None:
        self._watcher.ended(trial)

    def standing(self, status: Status) -> None:
        self._watcher.standing(status)

    def trial_ended(self, trial: TrialStatus, status: Status) -> None:
        self._watcher.trial_ended(trial, status)


def execute(order: Order, key: str, watcher: Watcher | None = None, cases: Cases | None = None) -> Outcome:
    """Do one trial of a run unless it is done, has failed in this call, or another process is at it.

    A failure is kept in KEY.failed and does not spread. Raises UsageError for a key that the run doesn't have, and
    OSError where not even a failure can be written.
    """
    agenda = read_agenda(order.folder)
    trial = agenda.trial(key)
    if order.done(key):
        return Outcome.DONE
    if order.failed(key):
        return Outcome.FAILED
    claim = take(order.claim_of(key))
    if claim is None:
        return Outcome.BUSY
    with claim:
        if order.done(key):
            return Outcome.DONE
        forget_failure(order.folder, key)
        guarded = Guarded(watcher or Silent(), claim)
        try:
            if order.device == "cpu" and GROWTH * agenda.step_bytes <= free_memory():
                keep_freed_memory()
            with whole_folder(order.folder / "trials" / key) as unfinished:
                fill(order, trial, unfinished, guarded, cases or Cases(found_cohort(order.folder)))
                add_notes(unfinished / "log.txt", guarded.notes)
                if not claim.mine():
                    raise ClaimLost
        except Exception as error:
            if isinstance(error, ClaimLost) or not claim.mine():
                return Outcome.BUSY
            keep(order, trial, Failure(cause_of(error), traceback.format_exc(), order.call))
            return Outcome.FAILED
        checkpoints(order, key).clear()
        return Outcome.DONE


def execute_in_turn(order: Order, key: str) -> Outcome:
    """`execute`, but where another process holds the trial, wait until one can tell whether it still works."""
    while True:
        outcome = execute(order, key)
        if outcome is not Outcome.BUSY or not comes_free(order.claim_of(key)):
            return outcome


def fill(order: Order, trial: Trial, folder: Path, watcher: Watcher, cases: Cases) -> None:
    """Everything that a trial's folder holds."""
    plan = Plan.load(order.folder / "plan.toml")
    if trial.method == DIFFERENCE_THRESHOLD:
        fill_difference(trial, folder, cases.of(trial), plan)
        return
    saving = replace(checkpoints(order, trial.key), note=watcher.note)
    fill_network(trial, folder, cases.of(trial), plan, order.device, watcher, saving)


def checkpoints(order: Order, key: str) -> Saving:
    """Where a trial keeps them while it is trained."""
    return Saving(order.folder / "checkpoints" / key, every_seconds=order.checkpoint_seconds)


def add_notes(log: Path, notes: Sequence[str]) -> None:
    """Add to a trial's log what was said meanwhile and isn't there."""
    known = log.read_text(encoding="utf-8") if log.is_file() else ""
    fresh = [note for note in notes if note not in known]
    if fresh:
        log.write_text(known + "\n".join(fresh) + "\n", encoding="utf-8")


def keep(order: Order, trial: Trial, failure: Failure) -> None:
    """Write down that a trial failed."""
    keep_failure(order.folder, trial.key, tomli_w.dumps(flat_record(trial)), failure)


@contextlib.contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Let this process compute with so many CPU threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
