"""How far a run is, read from its folder by anyone at any time, even while other machines work on it."""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesionloss.bench.bookkeeping.failures import read_failure
from lesionloss.bench.bookkeeping.trial_list import TrialList, lock_name, read_trial_list
from lesionloss.core.errors import LesionLossError
from lesionloss.core.locks import FoundLock, read_lock
from lesionloss.runs.run_files import read_json
from lesionloss.runs.run_records import TRIALS
from lesionloss.training.trial import Trial

STATES = ("done", "running", "failed", "open")
_TAIL_BYTES = 400  # more than two lines of history.csv


@dataclass(frozen=True)
class TrialStatus:
    """One trial at a moment.

    Attributes:
        state: One of STATES.
        steps: Training steps in all.
        step: The last finished step.
        host: The machine that runs it.
        pid: The process that runs it.
        since: When that process started the trial, in seconds of Unix time.
        seconds: What a finished trial took, or what a running one still needs, without the trials beside it in its
            process; None: unknown.
        cause: Why it failed, one of `failures.CAUSES`.
        reason: The last line of its traceback.
    """

    key: str
    pair: str
    loss: str
    fold: int
    seed: int
    method: str
    state: str
    steps: int
    step: int = 0
    host: str = ""
    pid: int = 0
    since: float = 0.0
    seconds: float | None = None
    cause: str = ""
    reason: str = ""

    @property
    def title(self) -> str:
        """Loss, fold and seed in words."""
        return f"{self.loss}, fold {self.fold}" + (f", seed {self.seed}" if self.method == "network" else "")


@dataclass(frozen=True)
class Status:
    """A run at the moment `now` (seconds of Unix time), with its trials in order."""

    folder: Path
    now: float
    threads: int
    trials: tuple[TrialStatus, ...]

    def of(self, state: str) -> tuple[TrialStatus, ...]:
        """Return the trials in a state."""
        return tuple(trial for trial in self.trials if trial.state == state)

    @property
    def counts(self) -> dict[str, int]:
        """The number of trials in each state."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in STATES}

    @property
    def pairs(self) -> tuple[int, int]:
        """The number of complete pairs, and of all pairs; only complete ones can be compared."""
        states: dict[str, set[str]] = {}
        for trial in self.trials:
            if trial.method == "network":
                states.setdefault(trial.pair, set()).add(trial.state)
        return sum(found == {"done"} for found in states.values()), len(states)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end, if as many processes go on as now; None where none works or no time is known yet."""
        each = seconds_per_trial(self.trials)
        if not self.of("running") or each is None:
            return None
        rest: dict[tuple[str, int], float] = {}
        for trial in self.of("running"):
            process = (trial.host, trial.pid)
            rest[process] = rest.get(process, 0.0) + (each if trial.seconds is None else trial.seconds)
        waiting = sum(trial.method == "network" for trial in self.of("open"))
        return max([*rest.values(), (sum(rest.values()) + each * waiting) / len(rest)])

    def seconds_left_of(self, trial: TrialStatus) -> float | None:
        """Seconds until a running trial ends: its process takes turns among the trials that it trains side by side."""
        beside = [other for other in self.of("running") if (other.host, other.pid) == (trial.host, trial.pid)]
        return None if trial.seconds is None else sum(other.seconds or 0.0 for other in beside)


def seconds_per_trial(trials: Sequence[TrialStatus]) -> float | None:
    """Return the mean seconds of finished trials, else what the running ones suggest; None: unknown."""
    done = [t.seconds for t in trials if t.state == "done" and t.method == "network" and t.seconds is not None]
    if done:
        return statistics.mean(done)
    expected = [t.seconds * t.steps / (t.steps - t.step) for t in trials if t.seconds and 0 < t.step < t.steps]
    return statistics.mean(expected) if expected else None


@dataclass
class StatusReader:
    """Reads the status again and again; the time of a finished trial is read once.

    Attributes:
        folder: The run folder.
        trial_list: Trials of it.
        place: The folder in it that holds them.
    """

    folder: Path
    trial_list: TrialList
    place: str = TRIALS
    _seconds: dict[str, float | None] = field(default_factory=dict)

    @property
    def _trials(self) -> Path:
        return self.folder / self.place

    def read(self) -> Status:
        """Return the status at this moment."""
        locked = _names(self.folder / "locks")  # first: what is released meanwhile is then found among the trials
        names = _names(self._trials)
        now = time.time()
        scoring = self._seconds_of_scoring()
        return Status(
            self.folder,
            now,
            self.trial_list.threads,
            tuple(self._trial(trial, names, locked, now, scoring) for trial in self.trial_list.trials),
        )

    def _trial(self, trial: Trial, names: set[str], locked: set[str], now: float, scoring: float) -> TrialStatus:
        key = trial.key
        steps = trial.recipe.steps if trial.method == "network" else 0
        common = (key, trial.pair, trial.loss, trial.fold, trial.seed, trial.method)
        if key in names:
            return TrialStatus(*common, "done", steps, step=steps, seconds=self._seconds_of(key))
        lock = lock_name(self.place, key)
        found = read_lock(self.folder / "locks" / lock) if lock in locked else None
        if found is not None and found.is_alive(now):
            return _running(common, steps, self._trials / f"{key}.partial", found, scoring)
        failure = read_failure(self._trials, key) if f"{key}.failed" in names else None
        if failure is not None:
            return TrialStatus(*common, "failed", steps, cause=failure.cause, reason=failure.reason)
        return TrialStatus(*common, "open", steps)

    def _seconds_of(self, key: str) -> float | None:
        if key not in self._seconds:
            self._seconds[key] = _seconds_in(self._trials / key / "machine.json", "total")
        return self._seconds[key]

    def _seconds_of_scoring(self) -> float:
        """Seconds that the scoring of a finished trial took; 0: none is finished yet."""
        for trial in self.trial_list.trials:
            if trial.method == "network" and trial.key in self._seconds:
                return _seconds_in(self._trials / trial.key / "machine.json", "scoring") or 0.0
        return 0.0


def read_status(folder: Path) -> Status:
    """Read how far a run is.

    Raises:
        UsageError: The folder is no run, or nothing was started in it.
        DataError: A file is damaged.
    """
    return StatusReader(folder, read_trial_list(folder)).read()


def _running(
    common: tuple[str, str, str, int, int, str], steps: int, unfinished: Path, found: FoundLock, scoring: float
) -> TrialStatus:
    step, seconds = last_step(unfinished / "history.csv")
    left = seconds / step * (steps - step) + scoring if step else None
    who = found.holder
    return TrialStatus(*common, "running", steps, step=step, host=who.host, pid=who.pid, since=who.since, seconds=left)


def last_step(history: Path) -> tuple[int, float]:
    """Return step and seconds of the last complete line of a growing history.csv; 0 where there is none."""
    try:
        with history.open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            handle.seek(max(0, handle.tell() - _TAIL_BYTES))
            lines = handle.read().split(b"\n")
        cells = lines[-2].decode().split(",")
        return int(cells[0]), float(cells[3])
    except (OSError, IndexError, ValueError):
        return 0, 0.0


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _seconds_in(machine: Path, name: str) -> float | None:
    try:
        return float(read_json(machine)["seconds"][name])
    except (LesionLossError, KeyError, TypeError, ValueError, OverflowError):
        return None


def status_json(status: Status) -> str:
    """Return the whole status as JSON."""
    complete, pairs = status.pairs
    record: dict[str, Any] = {
        "folder": str(status.folder),
        "now": status.now,
        "threads": status.threads,
        "counts": status.counts,
        "pairs_complete": complete,
        "pairs": pairs,
        "seconds_left": status.seconds_left,
        "trials": [trial.__dict__ for trial in status.trials],
    }
    return json.dumps(record, indent=1, allow_nan=False)
