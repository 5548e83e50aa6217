"""Who calls `execute` for every trial of a run, and where: in this process, in others, on other machines.

An engine starts trials in the order of the agenda, tells the watcher how the run stands, and returns when every trial
is done, has failed in this call, or is worked on by somebody else. It may be killed at any moment.
"""

from collections.abc import Sequence
from typing import Protocol

from lesionloss.bench.execute import Order
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.side_by_side import Need
from lesionloss.bench.trial_list import Agenda
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.losses.registry import get
from lesionloss.losses.spec import parse


class Engine(Protocol):
    """What every engine can do."""

    def threads(self, need: Need, trials: int) -> int:
        """CPU threads of each trial of a run that begins now; a run that goes on keeps its own."""

    def work(self, order: Order, agenda: Agenda, cohort: ListedCohort, watcher: Watcher) -> None:
        """Have all trials done that aren't yet. Raises UsageError where the engine can't be had."""


def check_losses(losses: Sequence[str]) -> None:
    """Raises UsageError for a loss that exists in this process only: a worker of another one would not know it."""
    for name in {term.name for text in losses for term in parse(text).terms}:
        module = get(name).function.__module__
        if not module.startswith(("lesionloss.", "lesionloss_user_")):
            raise UsageError(
                f"loss {name!r} was defined in {module}, which other processes don't see; put it into a file of its "
                "own and name it with --with FILE.py (in Python: lesionloss.losses.registry.load_user_file)"
            )
