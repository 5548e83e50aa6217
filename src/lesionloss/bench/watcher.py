"""Watchers are notified of the progress of a run: a terminal, a notebook, or nobody."""

from typing import TYPE_CHECKING, Protocol

from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial

if TYPE_CHECKING:
    from lesionloss.bench.bookkeeping.status import Status, TrialStatus


class Watcher(Protocol):
    """Called by `run` as things happen; it must not change anything.

    For trials in this process, `started`, `step` and `ended` are called; for trials in other processes, `status`
    about twice a second and `trial_ended` once for each.
    """

    def note(self, text: str) -> None:
        """A line worth reading: a stage, a warning, a failure."""

    def cohort(self, name: str, done: int, total: int) -> None:
        """A patient was made or prepared."""

    def started(self, trial: Trial, index: int, total: int) -> None:
        """Trial `index` of `total` (from 1) starts."""

    def step(self, trial: Trial, step: Step) -> None:
        """A training step was taken."""

    def ended(self, trial: Trial) -> None:
        """A trial was finished, failed or was already there."""

    def status(self, status: "Status") -> None:
        """How far every trial is."""

    def trial_ended(self, trial: "TrialStatus", status: "Status") -> None:
        """A trial in another process was finished or failed."""


class SilentWatcher:
    """Ignores every notification; the base of watchers that need only some."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def cohort(self, name: str, done: int, total: int) -> None:
        """Do nothing."""

    def started(self, trial: Trial, index: int, total: int) -> None:
        """Do nothing."""

    def step(self, trial: Trial, step: Step) -> None:
        """Do nothing."""

    def ended(self, trial: Trial) -> None:
        """Do nothing."""

    def status(self, status: "Status") -> None:
        """Do nothing."""

    def trial_ended(self, trial: "TrialStatus", status: "Status") -> None:
        """Do nothing."""
