"""The noise floor of a run: one of its trials is trained again with nothing changed, in RUN/noise_floor/KEY.

What differs between the two is the hardware's doing, and no loss should be called better for less.
"""

from dataclasses import replace

from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.engines import TrialEngine
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_groups import networks_of
from lesionloss.bench.watcher import Watcher
from lesionloss.runs.run_files import read_json
from lesionloss.runs.run_records import MACHINE, NOISE_FLOOR


def train_noise_floor(
    engine: TrialEngine, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher
) -> None:
    """Train a finished trial again where that is wanted, see `RunContext.noise_floor`, unless it was done.

    It is the first network that has not failed. Where another process still trains it, that process does so.

    Args:
        engine: Executes the trial.
        context: The run and this call of `bench`.
        trial_list: All trials.
        cohort: The prepared cases.
        watcher: Is notified of the progress.
    """
    trial = next((trial for trial in networks_of(trial_list.trials) if not context.failed(trial.key)), None)
    if trial is None or not context.done(trial.key) or not _is_wanted(context, trial.key):
        return
    again = replace(context, place=NOISE_FLOOR)
    if any(again.done(each.key) for each in trial_list.trials):
        return
    watcher.note(f"noise floor: training {trial.loss}, fold {trial.fold}, seed {trial.seed} again")
    engine.run_trials(again, replace(trial_list, trials=(trial,)), cohort, watcher)


def _is_wanted(context: RunContext, key: str) -> bool:
    if context.noise_floor is not None:
        return context.noise_floor
    return read_json(context.trials / key / MACHINE).get("device") != "cpu"
