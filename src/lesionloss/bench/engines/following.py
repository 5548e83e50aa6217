"""What the watcher of a run is told while trials go on in other processes: read from the run's folder."""

import time
from dataclasses import dataclass, field

from lesionloss.bench.execute import Order
from lesionloss.bench.status import Status, StatusReader, TrialStatus
from lesionloss.bench.trial_list import Agenda
from lesionloss.bench.watcher import Watcher

LOOK_SECONDS = 0.5


@dataclass
class Follower:
    """Looks at the folder now and then, and tells of every trial that ended since."""

    order: Order
    agenda: Agenda
    watcher: Watcher
    _reader: StatusReader = field(init=False)
    _ended: set[str] = field(default_factory=set)
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._reader = StatusReader(self.order.folder, self.agenda)
        self._ended = {trial.key for trial in self._reader.read().trials if trial.state in ("done", "failed")}

    def look(self, *, now: bool = False) -> None:
        """Tell the watcher how the run stands, unless it has just been told."""
        if not now and time.monotonic() - self._last < LOOK_SECONDS:
            return
        status = self._reader.read()
        for trial in status.trials:
            if trial.state not in ("done", "failed"):
                self._ended.discard(trial.key)  # one that failed before is tried again
            elif trial.key not in self._ended:
                self._ended.add(trial.key)
                self._tell(trial, status)
        self.watcher.standing(status)
        self._last = time.monotonic()

    def _tell(self, trial: TrialStatus, status: Status) -> None:
        if trial.state == "failed":
            self.watcher.note(f"failed ({trial.cause}): {trial.title}: {trial.reason}")
        else:
            for line in self._warnings(trial.key):
                self.watcher.note(line)
        self.watcher.trial_ended(trial, status)

    def _warnings(self, key: str) -> list[str]:
        """What a finished trial's log warns of."""
        try:
            text = (self.order.folder / "trials" / key / "log.txt").read_text(encoding="utf-8")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.startswith("warning: ")]
