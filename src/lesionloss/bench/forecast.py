"""What a plan will need before it is run: time, disk and memory, from finished trials or from a few training steps."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lesionloss.bench.batch_shares import batch_shares_of
from lesionloss.bench.bookkeeping.status import Status, read_status, seconds_per_trial
from lesionloss.bench.bookkeeping.trial_list import FILE, read_trial_list
from lesionloss.bench.execute_trial import use_threads
from lesionloss.bench.forecast_record import Forecast, ForecastTrial
from lesionloss.bench.gpu_sharing import memory_of_gpu, peak_of_gpu, processes_on_gpus
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need, parallel_trials
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.extend_run import extended_plan
from lesionloss.bench.plan.run_folders import refuse_other_plan
from lesionloss.bench.recipes import counts_epochs, recipe_of
from lesionloss.bench.run_cohort import ListedCohort, read_run_cohort
from lesionloss.bench.trial_groups import networks_together
from lesionloss.bench.trial_timing import seconds_of_batch, seconds_of_scoring, seconds_of_step
from lesionloss.core.allocator import free_memory
from lesionloss.core.devices import all_devices, resolve_device
from lesionloss.core.errors import LesionLossError
from lesionloss.core.number_text import plural
from lesionloss.core.processors import usable_cores
from lesionloss.data.cohort_index import CaseEntry
from lesionloss.data.prepared import load_channels
from lesionloss.networks import network_axes, network_channels
from lesionloss.networks.cost import network_cost
from lesionloss.training.execution import GROWTH, default_workers, network_bytes, step_bytes
from lesionloss.training.trial import TrainingRecipe

CHANNELS = 3  # of two visits with one contrast: assumed where nothing is prepared yet
CHECKPOINT_COPIES = 2 * 4  # the last two; weights, their best copy, and two moments of each
WEIGHT_BYTES = 4


@dataclass(frozen=True)
class TrialTime:
    """The time of a trial and where it comes from; see `Forecast`."""

    source: str
    left_out: tuple[str, ...]
    step_seconds: float | None
    seconds_each: float | None


def forecast(
    plan: Plan,
    out: Path | None,
    device: str,
    jobs: int | None,
    threads: int | None,
    *,
    together: int | None = None,
    extend: bool = False,
    known: Callable[[Forecast], None] = lambda found: None,
    timed: Callable[[int, int], None] = lambda done, steps: None,
) -> Forecast:
    """Estimate what a plan will need; writes nothing. Unless trials have finished, a few training steps are timed.

    Timing takes about a minute at most: where a step takes long, smaller patches are timed.

    Args:
        plan: A plan of one data set and one network.
        out: The run folder, which may hold a part of the run; None: none.
        device: auto (every GPU, or the processor), cpu or cuda:N.
        jobs: Processes at a time; None: as cores and memory allow, that of GPUs included.
        threads: Threads of each; None: the cores divided among them.
        together: Losses of a pair that train side by side; None: as memory allows.
        extend: Whether losses and seeds of the plan may be added to the run in `out`.
        known: Called before anything is timed, with all but the times.
        timed: Called with (steps done, steps in all) while steps are timed.

    Raises:
        UsageError: The run folder holds another plan, or can't be read.
        DataError: A file in it is damaged.
    """
    if out is not None:
        plan = extended_plan(plan, out) if extend else plan
        if not extend:
            refuse_other_plan(plan, out)
    devices = all_devices() if device == "auto" else (resolve_device(device),)
    device = devices[0]
    status = read_status(out) if out is not None and (out / FILE).is_file() else None
    cohort = _cohort(out)
    recipe = _recipe(plan, device, cohort)
    channels = _channels(plan, cohort)
    needed = step_bytes(recipe, plan.network.text, channels)
    need = (
        memory_need(cohort, read_trial_list(out))
        if status and cohort and out
        else MemoryNeed(needed, 0, network_bytes(recipe, plan.network.text))
    )
    trials = _trials(plan, status)
    left = sum(trial.state != "done" for trial in trials)
    gpus, asked = 0 if device == "cpu" else len(devices), jobs
    jobs = jobs or gpus or parallel_trials(need, max(1, left), threads or 1)
    threads = threads or (status.threads if status else max(1, usable_cores() // jobs))
    weights = network_cost(plan.network.text, _input_shape(plan, recipe, 1, channels)).parameters * WEIGHT_BYTES
    found = Forecast(
        trials=trials,
        mixed=tuple(section.describe() for section in plan.data.mix),
        batches=batch_shares_of(plan, cohort) if cohort else None,
        source="",
        left_out=(),
        step_seconds=None,
        seconds_each=None,
        seconds=None,
        jobs=jobs,
        gpus=gpus,
        together=networks_together(need, -(-jobs // max(1, gpus)), len(plan.losses), together, device),
        threads=threads,
        there_bytes=_size(out) if out is not None else 0,
        trial_bytes=_trial_bytes(status, weights, cohort, plan.folds),
        checkpoint_bytes=CHECKPOINT_COPIES * weights * jobs,
        need_bytes=need.total,
        free_bytes=free_memory(),
    )
    known(found)
    with use_threads(threads):
        time_of_trial = _trial_time(plan, recipe, status, cohort, channels, device, timed)
    if gpus and asked is None:  # the timed steps have shown what one network needs
        peak = (peak_of_gpu(device) or GROWTH * needed) + (found.together - 1) * need.network_bytes
        jobs = processes_on_gpus(gpus, memory_of_gpu(device), peak, need, max(1, left), threads)
        found = replace(found, jobs=jobs, checkpoint_bytes=CHECKPOINT_COPIES * weights * jobs)
    each = time_of_trial.seconds_each
    return replace(found, **asdict(time_of_trial), seconds=None if each is None else each * -(-left // jobs))


def _trial_time(
    plan: Plan,
    recipe: TrainingRecipe,
    status: Status | None,
    cohort: ListedCohort | None,
    channels: int,
    device: str,
    timed: Callable[[int, int], None],
) -> TrialTime:
    known = seconds_per_trial(status.of("done")) if status else None
    if known is not None and status is not None:
        return TrialTime(f"the mean of {plural(len(_finished_networks(status)), 'finished trial')}", (), None, known)
    shape = _input_shape(plan, recipe, recipe.batch, channels)
    step, what = seconds_of_step(recipe, plan, shape, device, timed)
    source = f"{what} timed now, by one trial alone"
    left_out = [] if cohort else ["the making of batches and the scoring of whole images (nothing is prepared yet)"]
    left_out += ["curves"] if plan.curves.every_epochs else []
    left_out += ["pretraining"] if plan.training.pretrain else []
    left_out += ["the preparation of what is mixed in"] if plan.data.mix and cohort is None else []
    if counts_epochs(plan) and cohort is None and plan.training.epochs:
        return TrialTime(source, tuple(left_out), step, None)
    scoring = seconds_of_scoring(plan, recipe, cohort, device, step) if cohort else 0.0
    making = seconds_of_batch(recipe, cohort) if cohort else 0.0
    workers = default_workers(device)
    each = max(step, making / workers) if workers else step + making
    return TrialTime(source, tuple(left_out), step, each * recipe.steps * recipe.accumulate + scoring)


def _recipe(plan: Plan, device: str, cohort: ListedCohort | None) -> TrainingRecipe:
    """The recipe of a training run on all but one fold; where nothing is prepared, an epoch counts as one step."""
    if not counts_epochs(plan):
        return recipe_of(plan, device)
    if cohort is None:
        known = plan.training.model_dump() | {"epochs": 0, "steps": max(1, plan.training.epochs), "check_every": 1}
        return recipe_of(plan.changed({"training": known}), device)
    training = len(cohort.cases) - len(cohort.cases) // plan.folds
    names = [*[case.name for case in cohort.cases][: max(1, training)], *cohort.mixed_names]
    return recipe_of(plan, device, cohort.named(names), cohort.mixtures)


def _input_shape(plan: Plan, recipe: TrainingRecipe, images: int, channels: int) -> tuple[int, ...]:
    return (images, channels, *recipe.patch[: network_axes(plan.network.text)])


def _voxels(entry: CaseEntry) -> int:
    return math.prod(entry.shape)


def _cohort(out: Path | None) -> ListedCohort | None:
    try:
        return read_run_cohort(out) if out is not None else None
    except LesionLossError:
        return None


def _channels(plan: Plan, cohort: ListedCohort | None) -> int:
    """Channels of the cases; where nothing is prepared, those that the network states, else of two visits."""
    if cohort is not None:
        return len(load_channels(cohort.folder / f"{cohort.cases[0].name}.npz"))
    return network_channels(plan.network.text)[0] or CHANNELS


def _trials(plan: Plan, status: Status | None) -> tuple[ForecastTrial, ...]:
    trials = status.trials if status else ()
    states = {(each.loss, each.fold, each.seed): each.state for each in trials if each.method == "network"}
    return tuple(
        ForecastTrial(loss, fold, seed, states.get((loss, fold, seed), "open"))
        for seed in plan.seeds
        for fold in range(plan.all_folds)
        for loss in plan.losses
    )


def _finished_networks(status: Status) -> list[str]:
    return [trial.key for trial in status.of("done") if trial.method == "network"]


def _trial_bytes(status: Status | None, weights: int, cohort: ListedCohort | None, folds: int) -> int:
    """The mean of finished trials; else the weights and, at most, a byte for every voxel of a fold's test cases."""
    done = _finished_networks(status) if status else []
    if status and done:
        return sum(_size(status.folder / "trials" / key) for key in done) // len(done)
    maps = sum(map(_voxels, cohort.cases)) // folds if cohort else 0
    return weights + maps


def _size(folder: Path) -> int:
    """Bytes of all files under a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
