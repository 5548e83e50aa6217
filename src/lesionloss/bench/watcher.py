"""What a run tells whoever watches it: a terminal, a notebook, nobody."""

from typing import TYPE_CHECKING, Protocol

from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial

if TYPE_CHECKING:
    from lesionloss.bench.status import Status, TrialStatus


class Watcher(Protocol):
    """Called by `run` as things happen; must not change anything.

    A trial in this process tells of its beginning, steps and end; of trials in other processes, `standing` says how
    they all stand, about twice a second, and `trial_ended` that one is done or has failed.
    """

    def note(self, text: str) -> None:
        """A line worth reading: a stage, a warning, a failure."""

    def cohort(self, name: str, done: int, total: int) -> None:
        """A patient was made or prepared."""

    def started(self, trial: Trial, index: int, total: int) -> None:
        """Trial `index` of `total` (from 1) begins."""

    def step(self, step: Step, steps: int) -> None:
        """A training step was taken."""

    def ended(self, trial: Trial) -> None:
        """A trial was finished, failed or was there already."""

    def standing(self, status: "Status") -> None:
        """How far every trial is."""

    def trial_ended(self, trial: "TrialStatus", status: "Status") -> None:
        """A trial in another process is done or has failed."""


class Silent:
    """Nobody watches."""

    def note(self, text: str) -> None: ...

    def cohort(self, name: str, done: int, total: int) -> None: ...

    def started(self, trial: Trial, index: int, total: int) -> None: ...

    def step(self, step: Step, steps: int) -> None: ...

    def ended(self, trial: Trial) -> None: ...

    def standing(self, status: "Status") -> None: ...

    def trial_ended(self, trial: "TrialStatus", status: "Status") -> None: ...
