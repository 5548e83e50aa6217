"""The engine of the library: one trial after the other in this very process, with every step told."""

from dataclasses import dataclass

import torch

from lesionloss.bench.execute import Cases, Order, Outcome, computing_with, execute
from lesionloss.bench.failures import failed_folder, read_failure
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.side_by_side import Need
from lesionloss.bench.trial_list import Agenda
from lesionloss.bench.watcher import Watcher
from lesionloss.training.trial import Trial


@dataclass(frozen=True)
class Inside:
    """No other process: simple to follow and to stop, but a crash of one trial ends the run."""

    def threads(self, need: Need, trials: int) -> int:
        """As many as torch uses here already."""
        return torch.get_num_threads()

    def work(self, order: Order, agenda: Agenda, cohort: ListedCohort, watcher: Watcher) -> None:
        cases = Cases(cohort, keep=True)
        networks = [trial.key for trial in agenda.trials if trial.method == "network"]
        with computing_with(agenda.threads):
            for trial in agenda.trials:
                if trial.method == "network":
                    watcher.started(trial, networks.index(trial.key) + 1, len(networks))
                if execute(order, trial.key, watcher, cases) is Outcome.FAILED:
                    watcher.note(_said(order, trial))
                if trial.method == "network":
                    watcher.ended(trial)


def _said(order: Order, trial: Trial) -> str:
    failure = read_failure(order.folder, trial.key)
    reason, place = failure.reason if failure else "", failed_folder(order.folder, trial.key)
    return f"failed: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {reason} (see {place}/failed.txt)"
