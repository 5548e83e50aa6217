"""Run a plan: prepare the patients once, store the list of trials, and let an engine execute those that are open."""

import contextlib
import uuid
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from lesionloss.bench.bookkeeping.trial_list import TrialList, refuse_other_trials, store_trial_list
from lesionloss.bench.engines import TrialEngine, check_code
from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.engines.repeat_trial import train_noise_floor
from lesionloss.bench.make_cohort import check_source, prepare_run_cohort
from lesionloss.bench.parallel_trials import memory_need
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.extend_run import PLAN, extended_plan, has_more, in_run_order
from lesionloss.bench.plan.run_folders import store_plan
from lesionloss.bench.pretrained_starts import prepare_pretraining
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.step_choice import check_step_mode
from lesionloss.bench.trials import difference_trials, fit_network, fold_warnings, trials_of
from lesionloss.bench.watcher import SilentWatcher, Watcher
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.locks import hold_lock, read_lock, remove_stale_lock
from lesionloss.data.prepared import load_channels
from lesionloss.training.execution import execution_of, step_bytes
from lesionloss.training.step_modes import EAGER
from lesionloss.training.trackers import check_tracker

if TYPE_CHECKING:
    from lesionloss.runs.results import Results


def run(
    plan: Plan,
    out: str | Path,
    *,
    device: str = "auto",
    watcher: Watcher | None = None,
    engine: TrialEngine | None = None,
    threads: int | None = None,
    checkpoint_seconds: float = 120.0,
    deterministic: bool = False,
    noise_floor: bool | None = None,
    step: str | None = None,
    batches_on_cpu: bool = False,
    track: str = "",
    extend: bool = False,
) -> "Results":
    """Run every trial of a plan that the run folder does not hold yet.

    A trial that fails is recorded in `KEY.failed`, and the others go on.

    Args:
        plan: A plan of one data set and one network.
        out: The run folder; an existing run of the same plan is continued.
        device: auto (the first GPU if there is one), cpu or cuda:N. A cluster looks it up on the node of each trial.
        watcher: Is notified of the progress.
        engine: Where trials are executed; None: one after the other in this process.
        threads: CPU threads of each trial of a new run; None: the engine decides.
        checkpoint_seconds: Time between two checkpoints of a trial.
        deterministic: Whether all bits must repeat on a GPU too, which is slower; recorded in machine.json.
        noise_floor: Whether one trial is trained again, to see how far equal training runs differ; None: on a GPU.
        step: How training steps are computed: eager, compiled (by torch.compile), or auto: the faster one, timed when
            the run starts. None: as the run does, eager in a new one. All trials of a run have the same.
        batches_on_cpu: Whether batches are made in main memory even where the cases fit on a GPU.
        track: Where the curves of training are shown: tensorboard, mlflow or wandb, in files of the run folder; empty:
            nowhere.
        extend: Whether losses and seeds of the plan may be added to the run in `out`. Its finished trials stay, and
            every comparison says what was added.

    Returns:
        All results of the run folder.

    Raises:
        UsageError: The folder holds another plan, which may not be extended, or other trials; or the plan does not fit
            the data.
        DataError: The data can't be used.
    """
    from lesionloss.runs.load_run import load

    expect_type(plan, Plan, "plan", "pass Plan.load(file) or Plan.preset(name)")
    expect_type(out, (str, PathLike), "out", "give the path of a folder")
    watcher, engine, folder = watcher or SilentWatcher(), engine or InProcessEngine(), Path(out).absolute()
    device = engine.device(device)
    check_step_mode(folder, step)
    check_tracker(track)
    call, step = uuid.uuid4().hex, step or EAGER
    context = RunContext(
        folder, device, call, checkpoint_seconds, deterministic, noise_floor, step, batches_on_cpu, track
    )
    if len(plan.runs()) > 1:
        raise UsageError(f"plan {plan.name} has {len(plan.runs())} runs; get them from bench.plan.run_folders.runs_of")
    if not isinstance(engine, InProcessEngine):
        check_code(plan.losses, plan.network.text)
    plan, extends = _begin(plan, folder, extend=extend)
    with _exclusive(folder, "cohort", watcher):
        cohort = prepare_run_cohort(plan, folder, watcher)
    first = cohort.read([cohort.cases[0].name])
    case = first.cases[0]
    plan = fit_network(plan, case.channels, case.classes, len(case.shape))
    watcher.note(f"network: {plan.network.text}")
    for warning in fold_warnings(plan, cohort):
        watcher.note(warning)
    with _exclusive(folder, "plan", watcher):
        trial_list = _trial_list(plan, cohort, device, engine, threads)
        if extends:
            refuse_other_trials(folder, trial_list, threads, grows=True)  # before anything is written
            store_plan(plan, folder, extend=True)
        trial_list = store_trial_list(folder, trial_list, threads)
    execution = execution_of(trial_list.trials[-1].recipe, device, trial_list.threads, trial_list.step_bytes)
    watcher.note(execution.describe())
    if plan.training.pretrain:
        with _exclusive(folder, "pretrained", watcher):
            prepare_pretraining(plan, trial_list.trials, first, folder, watcher)
    engine.run_trials(context, trial_list, cohort, watcher)
    train_noise_floor(engine, context, trial_list, cohort, watcher)
    for trial in trial_list.trials:
        if context.done(trial.key):
            remove_stale_lock(context.lock_path(trial.key))
    return load(folder)


def _begin(plan: Plan, folder: Path, *, extend: bool) -> tuple[Plan, bool]:
    """The plan in the order of the run, and whether it adds to the run; one that adds nothing is stored."""
    if not (folder / PLAN).exists():
        check_source(plan)  # so that a call that can't work leaves no run behind
    elif extend:
        plan = extended_plan(plan, folder)
        if has_more(plan, folder):
            return plan, True
    store_plan(plan, folder)
    return in_run_order(plan, folder), False


@contextlib.contextmanager
def _exclusive(folder: Path, what: str, watcher: Watcher) -> Iterator[None]:
    """Let one process at a time do what all trials need; the next one finds it done."""
    path = folder / "locks" / what
    if read_lock(path) is not None:
        watcher.note(f"{what}: another process may be working on it; waiting")
    with hold_lock(path):
        yield


def _trial_list(plan: Plan, cohort: ListedCohort, device: str, engine: TrialEngine, threads: int | None) -> TrialList:
    """All trials in order: the difference threshold, then pair by pair."""
    trials = trials_of(plan, cohort, device)
    channels = {load_channels(cohort.folder / f"{case.name}.npz") for case in cohort.cases}
    has_difference = all("difference" in names for names in channels)
    needed = step_bytes(trials[0].recipe, plan.network.text, max(map(len, channels)))
    untrained = difference_trials(trials, plan.comparator) if has_difference else ()
    trial_list = TrialList((*untrained, *trials), 1, needed)
    wanted = threads or engine.threads(memory_need(cohort, trial_list), len(trials))
    return TrialList(trial_list.trials, wanted, needed)
