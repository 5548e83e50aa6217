"""The engine for Python: one trial after the other in this process; the watcher is notified of every step."""

from dataclasses import dataclass

import torch

from lesionloss.bench.bookkeeping.failures import failed_folder, read_failure
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.execute_trial import CaseReader, Outcome, RunContext, execute_trial, use_threads
from lesionloss.bench.parallel_trials import MemoryNeed
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.devices import resolve_device
from lesionloss.training.trial import Trial


@dataclass(frozen=True)
class InProcessEngine:
    """No other process: easy to follow and to stop, but a crash of one trial ends the run."""

    def device(self, name: str) -> str:
        """Return the device of this process."""
        return resolve_device(name)

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return the number that torch uses here already."""
        return torch.get_num_threads()

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Execute all open trials."""
        cases = CaseReader(cohort, keep=True)
        networks = [trial.key for trial in trial_list.trials if trial.method == "network"]
        with use_threads(trial_list.threads):
            for trial in trial_list.trials:
                if trial.method == "network":
                    watcher.started(trial, networks.index(trial.key) + 1, len(networks))
                if execute_trial(context, trial.key, watcher, cases) is Outcome.FAILED:
                    watcher.note(_failure_text(context, trial))
                if trial.method == "network":
                    watcher.ended(trial)


def _failure_text(context: RunContext, trial: Trial) -> str:
    failure = read_failure(context.folder, trial.key)
    reason, place = failure.reason if failure else "", failed_folder(context.folder, trial.key)
    return f"failed: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {reason} (see {place}/failed.txt)"
