"""Notify the watcher of a run while trials run in other processes: the status is read from the run folder."""

import time
from dataclasses import dataclass, field

from lesionloss.bench.bookkeeping.status import Status, StatusReader, TrialStatus
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.watcher import Watcher

POLL_SECONDS = 0.5


@dataclass
class StatusFollower:
    """Reads the status regularly and notifies the watcher of every trial that ended since."""

    context: RunContext
    trial_list: TrialList
    watcher: Watcher
    _reader: StatusReader = field(init=False)
    _ended: set[str] = field(default_factory=set)
    _last: float = 0.0

    def __post_init__(self) -> None:
        """Note the trials that ended before."""
        self._reader = StatusReader(self.context.folder, self.trial_list, self.context.place)
        self._ended = {trial.key for trial in self._reader.read().trials if trial.state in ("done", "failed")}

    def poll(self, *, now: bool = False) -> None:
        """Notify the watcher of the status, at most every POLL_SECONDS; `now`: in any case."""
        if not now and time.monotonic() - self._last < POLL_SECONDS:
            return
        status = self._reader.read()
        for trial in status.trials:
            if trial.state not in ("done", "failed"):
                self._ended.discard(trial.key)  # one that failed before is tried again
            elif trial.key not in self._ended:
                self._ended.add(trial.key)
                self._notify(trial, status)
        self.watcher.status(status)
        self._last = time.monotonic()

    def _notify(self, trial: TrialStatus, status: Status) -> None:
        if trial.state == "failed":
            self.watcher.note(f"failed ({trial.cause}): {trial.title}: {trial.reason}")
        else:
            for line in self._warnings(trial.key):
                self.watcher.note(line)
        self.watcher.trial_ended(trial, status)

    def _warnings(self, key: str) -> list[str]:
        """The warnings in a finished trial's log."""
        try:
            text = (self.context.trials / key / "log.txt").read_text(encoding="utf-8")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.startswith("warning: ")]
