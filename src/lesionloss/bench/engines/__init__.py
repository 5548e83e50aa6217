"""Engines call `execute_together` for all losses of each pair: in this process, in others, or on other machines.

An engine starts trials in the order of the trial list, notifies the watcher, and returns when every trial is done, has
failed in this call, or is worked on by another process. It may be killed at any moment.
"""

from collections.abc import Sequence
from typing import Protocol

from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.parallel_trials import MemoryNeed
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.losses.registry import get
from lesionloss.losses.spec import parse


class TrialEngine(Protocol):
    """What every engine can do."""

    def device(self, name: str) -> str:
        """Return what a run's workers get as device: cpu or cuda:N, or `name` where they look it up on their node.

        Raises:
            UsageError: No device has that name, or this machine has not that GPU.
        """

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return the CPU threads of each trial of a new run; a run that is continued keeps its own number."""

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Execute all open trials.

        Raises:
            UsageError: The engine is not available.
        """


def check_losses(losses: Sequence[str]) -> None:
    """Check that other processes can find the losses.

    Raises:
        UsageError: A loss is defined in this process only.
    """
    for name in {term.name for text in losses for term in parse(text).terms}:
        module = get(name).function.__module__
        if not module.startswith(("lesionloss.", "lesionloss_user_")):
            raise UsageError(
                f"loss {name!r} was defined in {module}, which other processes can't see; put it into a file of its "
                "own and name it with --with FILE.py (in Python: lesionloss.losses.registry.load_user_file)"
            )
