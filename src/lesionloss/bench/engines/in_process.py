"""The engine for Python: one pair after the other in this process; the watcher is notified of every step."""

from dataclasses import dataclass

import torch

from lesionloss.bench.bookkeeping.failures import failed_folder, read_failure
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.execute_trial import Outcome, execute_together, use_threads
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need
from lesionloss.bench.run_cohort import CaseReader, ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_groups import groups_of, networks_of, networks_together, together_in_words
from lesionloss.bench.watcher import Watcher
from lesionloss.core.devices import resolve_device
from lesionloss.training.trial import Trial


@dataclass(frozen=True)
class InProcessEngine:
    """No other process: easy to follow and to stop, but a crash of one trial ends the run.

    Attributes:
        together: Losses of a pair that train side by side; None: as memory allows.
    """

    together: int | None = None

    def device(self, name: str) -> str:
        """Return the device of this process."""
        return resolve_device(name)

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return the number that torch uses here already."""
        return torch.get_num_threads()

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Execute all open trials."""
        cases = CaseReader(cohort, keep=True)
        need = memory_need(cohort, trial_list)
        together = networks_together(need, 1, trial_list.losses, self.together, context.device)
        watcher.note(together_in_words(together, need))
        number = {trial.key: at for at, trial in enumerate(networks_of(trial_list.trials), 1)}
        with use_threads(trial_list.threads):
            for keys in groups_of(trial_list.trials, together):
                trials = [trial_list.trial(key) for key in keys]
                for trial in networks_of(trials):
                    watcher.started(trial, number[trial.key], len(number))
                outcomes = execute_together(context, keys, watcher, cases)
                for trial in trials:
                    if outcomes[trial.key] is Outcome.FAILED:
                        watcher.note(_failure_text(context, trial))
                for trial in networks_of(trials):
                    watcher.ended(trial)


def _failure_text(context: RunContext, trial: Trial) -> str:
    failure = read_failure(context.trials, trial.key)
    reason, place = failure.reason if failure else "", failed_folder(context.trials, trial.key)
    return f"failed: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {reason} (see {place}/failed.txt)"
