"""How far a run is, read from its folder, by anyone, at any time: also while processes on other machines work on it."""

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesionloss.bench.failures import read_failure
from lesionloss.bench.locks import Held, held
from lesionloss.bench.trial_list import Agenda, read_agenda
from lesionloss.core.errors import LesionLossError
from lesionloss.runs.run_files import read_json
from lesionloss.training.trial import Trial

STATES = ("done", "running", "failed", "open")
_TAIL_BYTES = 400  # more than two lines of history.csv


@dataclass(frozen=True)
class TrialStatus:
    """One trial: its state (one of STATES); who runs it and since when (Unix time); the last step that is done of all;
    seconds that a finished one took, or that a running one has still to go (None: unknown); why it failed."""

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
        return f"{self.loss}, fold {self.fold}" + (f", seed {self.seed}" if self.method == "network" else "")


@dataclass(frozen=True)
class Status:
    """A run at a moment, `now` (Unix time): its trials in the order of the work."""

    folder: Path
    now: float
    threads: int
    trials: tuple[TrialStatus, ...]

    def of(self, state: str) -> tuple[TrialStatus, ...]:
        return tuple(trial for trial in self.trials if trial.state == state)

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in STATES}

    @property
    def pairs(self) -> tuple[int, int]:
        """Pairs of which every loss is done, and all pairs: only whole ones can be compared."""
        states: dict[str, set[str]] = {}
        for trial in self.trials:
            if trial.method == "network":
                states.setdefault(trial.pair, set()).add(trial.state)
        return sum(found == {"done"} for found in states.values()), len(states)

    @property
    def seconds_left(self) -> float | None:
        """Until the last trial is done, if as many work on as now; None where nobody works or no pace is known yet."""
        running = self.of("running")
        pace = seconds_of_a_trial(self.trials)
        if not running or pace is None:
            return None
        rest = [pace if trial.seconds is None else trial.seconds for trial in running]
        waiting = sum(trial.method == "network" for trial in self.of("open"))
        return max([*rest, (sum(rest) + pace * waiting) / len(running)])


def seconds_of_a_trial(trials: Sequence[TrialStatus]) -> float | None:
    """What a training and its scoring take: the mean of those that are done, else what the running ones promise."""
    done = [t.seconds for t in trials if t.state == "done" and t.method == "network" and t.seconds is not None]
    if done:
        return statistics.mean(done)
    whole = [t.seconds * t.steps / (t.steps - t.step) for t in trials if t.seconds and 0 < t.step < t.steps]
    return statistics.mean(whole) if whole else None


@dataclass
class StatusReader:
    """Reads a run again and again; what a finished trial took is read once."""

    folder: Path
    agenda: Agenda
    _took: dict[str, float | None] = field(default_factory=dict)

    def read(self) -> Status:
        claimed = _names(self.folder / "claims")  # first: what is released meanwhile is then found among the trials
        names = _names(self.folder / "trials")
        now = time.time()
        judging = self._judging()
        return Status(
            self.folder,
            now,
            self.agenda.threads,
            tuple(self._trial(trial, names, claimed, now, judging) for trial in self.agenda.trials),
        )

    def _trial(self, trial: Trial, names: set[str], claimed: set[str], now: float, judging: float) -> TrialStatus:
        key = trial.key
        steps = trial.recipe.steps if trial.method == "network" else 0
        common = (key, trial.pair, trial.loss, trial.fold, trial.seed, trial.method)
        if key in names:
            return TrialStatus(*common, "done", steps, step=steps, seconds=self._seconds(key))
        found = held(self.folder / "claims" / key) if key in claimed else None
        if found is not None and found.alive(now):
            return _running(common, steps, self.folder / "trials" / f"{key}.partial", found, judging)
        failure = read_failure(self.folder, key) if f"{key}.failed" in names else None
        if failure is not None:
            return TrialStatus(*common, "failed", steps, cause=failure.cause, reason=failure.reason)
        return TrialStatus(*common, "open", steps)

    def _seconds(self, key: str) -> float | None:
        if key not in self._took:
            self._took[key] = _number(self.folder / "trials" / key / "machine.json", "total")
        return self._took[key]

    def _judging(self) -> float:
        """Seconds that the scoring of a trial takes, as far as one was seen."""
        for trial in self.agenda.trials:
            if trial.method == "network" and trial.key in self._took:
                return _number(self.folder / "trials" / trial.key / "machine.json", "judging") or 0.0
        return 0.0


def read_status(folder: Path) -> Status:
    """A run folder at this moment. Raises UsageError where it is none or nothing was begun, DataError if damaged."""
    return StatusReader(folder, read_agenda(folder)).read()


def _running(
    common: tuple[str, str, str, int, int, str], steps: int, unfinished: Path, found: Held, judging: float
) -> TrialStatus:
    step, seconds = last_step(unfinished / "history.csv")
    left = seconds / step * (steps - step) + judging if step else None
    who = found.holder
    return TrialStatus(*common, "running", steps, step=step, host=who.host, pid=who.pid, since=who.since, seconds=left)


def last_step(history: Path) -> tuple[int, float]:
    """Step and seconds of the last whole line of a history.csv that is being written; 0 where there is none."""
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


def _number(machine: Path, name: str) -> float | None:
    try:
        return float(read_json(machine)["seconds"][name])
    except (LesionLossError, KeyError, TypeError, ValueError):
        return None


def as_json(status: Status) -> str:
    """The whole status for a program."""
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
