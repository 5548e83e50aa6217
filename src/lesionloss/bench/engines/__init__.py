"""Engines call `execute_together` for all losses of each pair: in this process, in others, or on other machines.

An engine starts trials in the order of the trial list, notifies the watcher, and returns when every trial is done, has
failed in this call, or is worked on by another process. It may be killed at any moment.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.parallel_trials import MemoryNeed
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError
from lesionloss.core.user_files import PREFIX
from lesionloss.losses.registry import get
from lesionloss.losses.spec import parse
from lesionloss.networks import NETWORKS, ForeignDesign, parse_network


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


def check_code(losses: Sequence[str], network: str) -> None:
    """Check that other processes can find the losses and the network.

    Raises:
        UsageError: One is defined in this process only.
    """
    made: dict[str, Callable[..., object]] = {
        f"loss {term.name!r}": get(term.name).function for text in losses for term in parse(text).terms
    }
    library, name, _ = parse_network(network)
    design = None if library else NETWORKS.get(name)
    if isinstance(design, ForeignDesign):
        made[f"network {name!r}"] = design.kind
    for what, function in made.items():
        module = function.__module__
        if not module.startswith(("lesionloss.", PREFIX)):
            raise UsageError(
                f"{what} was defined in {module}, which other processes can't see; put it into a file of its "
                "own and name it with --with FILE.py (in Python: lesionloss.core.user_files.load_user_file)"
            )
