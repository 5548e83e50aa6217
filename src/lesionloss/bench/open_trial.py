"""A trial that this process works on: its lock, its unfinished folder, and the watcher that notices a lost lock."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.bench.watcher import SilentWatcher, Watcher
from lesionloss.core.files import atomic_folder
from lesionloss.core.locks import Lock
from lesionloss.training.state import Step
from lesionloss.training.trial import Trial


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

    def step(self, trial: Trial, step: Step) -> None:
        """Pass the step on.

        Raises:
            LockLost: Another process has taken the trial over.
        """
        if self._lock.lost:
            raise LockLost
        self._watcher.step(trial, step)


@dataclass
class OpenTrial:
    """A trial whose lock this process holds. Leaving `locked` releases it; leaving `written` finishes its folder.

    Attributes:
        trial: The trial.
        lock: Its lock.
        watcher: Is notified of its steps.
        locked: Holds the lock.
        written: Writes the folder: with an error it stays unfinished.
        folder: The unfinished folder; there after `begin`.
    """

    trial: Trial
    lock: Lock
    watcher: LockCheckingWatcher
    locked: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    written: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    folder: Path = Path()

    @property
    def key(self) -> str:
        """The key of the trial."""
        return self.trial.key

    def begin(self, trials: Path) -> None:
        """Make the unfinished folder.

        Args:
            trials: The folder of all trials.

        Raises:
            OSError: The disk fails.
        """
        self.folder = self.written.enter_context(atomic_folder(trials / self.key, keep_on_error=True))

    def add_notes(self) -> None:
        """Add the notes that are not in the trial's log yet."""
        _add_notes(self.folder / "log.txt", self.watcher.notes)


def _add_notes(log: Path, notes: Sequence[str]) -> None:
    known = log.read_text(encoding="utf-8") if log.is_file() else ""
    missing = [note for note in notes if note not in known]
    if missing:
        log.write_text(known + "\n".join(missing) + "\n", encoding="utf-8")
