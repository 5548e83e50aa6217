"""What a run tells whoever watches it: a terminal, a notebook, nobody."""

from typing import Protocol

from lesionloss.training.loop import Step
from lesionloss.training.trial import Trial


class Watcher(Protocol):
    """Called by `run` as things happen; must not change anything."""

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


class Silent:
    """Nobody watches."""

    def note(self, text: str) -> None: ...

    def cohort(self, name: str, done: int, total: int) -> None: ...

    def started(self, trial: Trial, index: int, total: int) -> None: ...

    def step(self, step: Step, steps: int) -> None: ...

    def ended(self, trial: Trial) -> None: ...
