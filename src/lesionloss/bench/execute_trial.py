"""Execute trials of one pair, in any process: lock, train from the checkpoint on, score, write folders, release.

Every engine calls `execute_together`; engines differ only in where they call it.
"""

import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto
from functools import partial

import tomli_w
import torch

from lesionloss.bench.bookkeeping.failures import Failure, cause_of, remove_failure, write_failure
from lesionloss.bench.bookkeeping.trial_list import read_trial_list
from lesionloss.bench.one_trial.run_trial import (
    NetworkTrial,
    OpenLog,
    finish_network_trial,
    run_difference_trial,
    shown_run,
    train_networks,
)
from lesionloss.bench.one_trial.trial_files import write_manifest
from lesionloss.bench.open_trial import LockCheckingWatcher, LockLost, OpenTrial
from lesionloss.bench.plan import Plan
from lesionloss.bench.pretrained_starts import pretrain_start
from lesionloss.bench.run_cohort import CaseReader, read_run_cohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.step_choice import step_mode_of
from lesionloss.bench.watcher import SilentWatcher, Watcher
from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.core.devices import resolve_device
from lesionloss.core.locks import acquire_lock, hold_lock, wait_until_free
from lesionloss.runs.results import DIFFERENCE_THRESHOLD
from lesionloss.runs.run_records import TRIALS
from lesionloss.training.arithmetic import set_arithmetic
from lesionloss.training.execution import GROWTH
from lesionloss.training.trackers import tracked
from lesionloss.training.trial import Trial, flat_record


class Outcome(Enum):
    """The outcome of a trial."""

    DONE = auto()
    FAILED = auto()
    BUSY = auto()  # another process works on it


def execute_trial(
    context: RunContext, key: str, watcher: Watcher | None = None, cases: CaseReader | None = None
) -> Outcome:
    """Execute one trial; see `execute_together`."""
    return execute_together(context, (key,), watcher, cases)[key]


def execute_together(
    context: RunContext, keys: Sequence[str], watcher: Watcher | None = None, cases: CaseReader | None = None
) -> dict[str, Outcome]:
    """Execute trials of one pair side by side, but for those that are done, failed in this call or are locked.

    The failure of a trial is recorded in KEY.failed and does not affect the others. One that runs out of memory beside
    others is executed again alone.

    Args:
        context: The run and this call of `bench`.
        keys: The trials.
        watcher: Is notified of the progress.
        cases: Reads the prepared cases; shared by the trials of one process.

    Returns:
        The outcome of each trial.

    Raises:
        UsageError: The run has no such trial.
        OSError: Not even a failure can be written.
    """
    context = replace(context, device=resolve_device(context.device))
    trial_list = read_trial_list(context.folder)
    trials = [trial_list.trial(key) for key in keys]
    cases = cases or CaseReader(read_run_cohort(context.folder))
    with contextlib.ExitStack() as held:
        opened, outcomes = _lock_all(context, trials, watcher or SilentWatcher(), held)
        if opened:
            if context.device == "cpu" and GROWTH * trial_list.step_bytes <= free_memory():
                keep_freed_memory()
            with set_arithmetic(context.device, context.deterministic):
                ended = _execute_open(context, opened, cases, watcher or SilentWatcher())
            outcomes |= {key: outcome for key, outcome in ended.items() if outcome is not None}
    alone = [key for key in keys if key not in outcomes]
    return outcomes | {key: execute_trial(context, key, watcher, cases) for key in alone}


def execute_or_wait(context: RunContext, keys: Sequence[str], watcher: Watcher | None = None) -> None:
    """Execute trials; wait for those that another process has locked until it is seen to work or one is free."""
    while keys:
        outcomes = execute_together(context, keys, watcher)
        keys = [key for key in keys if outcomes[key] is Outcome.BUSY]
        if not wait_until_free(*map(context.lock_path, keys)):
            return


def _lock_all(
    context: RunContext, trials: Sequence[Trial], watcher: Watcher, held: contextlib.ExitStack
) -> tuple[list[OpenTrial], dict[str, Outcome]]:
    """Lock the open trials; one process at a time locks those of a pair, so that a pair is not torn apart."""
    opened: list[OpenTrial] = []
    outcomes: dict[str, Outcome] = {}
    with hold_lock(context.lock_path(f"{trials[0].pair}.group")) if len(trials) > 1 else contextlib.nullcontext():
        for trial in trials:
            key = trial.key
            if not context.done(key) and context.failed(key):
                outcomes[key] = Outcome.FAILED
                continue
            lock = None if context.done(key) else acquire_lock(context.lock_path(key))
            if lock is not None:
                one = OpenTrial(trial, lock, LockCheckingWatcher(watcher, lock))
                held.enter_context(one.locked).enter_context(lock)
                held.enter_context(one.written)
                opened.append(one)
            if context.done(key):  # perhaps meanwhile
                outcomes[key] = Outcome.DONE
            elif lock is None:
                outcomes[key] = Outcome.BUSY
    for one in opened:
        if one.key in outcomes:
            one.locked.close()
    return [one for one in opened if one.key not in outcomes], outcomes


def _execute_open(
    context: RunContext, opened: list[OpenTrial], cases: CaseReader, watcher: Watcher
) -> dict[str, Outcome | None]:
    """Train all, then score and write each; None where one should be executed again alone."""
    finishes: list[Callable[[], None]]
    try:
        for one in opened:
            remove_failure(context.trials, one.key)
            one.begin(context.trials)
        plan, cohort = Plan.load(context.folder / "plan.toml"), cases.of(opened[0].trial)
        if opened[0].trial.method == DIFFERENCE_THRESHOLD:
            finishes = [partial(run_difference_trial, one.trial, one.folder, cohort, plan) for one in opened]
        else:
            pretrain_start(plan, opened[0].trial, context.folder, context.device, watcher)
            works = [_network_trial(context, one, plan) for one in opened]
            step_mode = step_mode_of(context, opened[0].trial, len(cohort.cases[0].channels), len(opened))
            results = train_networks(
                works,
                cohort,
                plan,
                context.device,
                processes=context.processes,
                step_mode=step_mode,
                batches_on_cpu=context.batches_on_cpu,
            )
            finishes = [
                partial(finish_network_trial, *both, cohort, plan, context.device)
                for both in zip(works, results, strict=True)
            ]
            del results
    except Exception as error:
        finishes = [partial(_raise, error) for _ in opened]
    outcomes: dict[str, Outcome | None] = {}
    for number, one in enumerate(opened):
        outcomes[one.key] = _end(context, one, finishes[number], alone=len(opened) == 1)
        finishes[number] = partial(_raise, LockLost())  # its network is not needed any more
    return outcomes


def _network_trial(context: RunContext, one: OpenTrial, plan: Plan) -> NetworkTrial:
    checkpoints = replace(context.checkpoints(one.key), note=one.watcher.note)
    logs: tuple[OpenLog, ...] = ()
    if context.track and context.place == TRIALS:
        shown = shown_run(one.trial, context.folder, plan.name)
        logs = (partial(tracked, context.track, shown, one.watcher.note),)
    return NetworkTrial(one.trial, one.folder, one.watcher, checkpoints, logs)


def _raise(error: Exception) -> None:
    raise error


def _end(context: RunContext, one: OpenTrial, finish: Callable[[], None], *, alone: bool) -> Outcome | None:
    """Finish a trial and release it."""
    with one.locked:
        try:
            with one.written:
                finish()
                one.add_notes()
                write_manifest(one.folder, one.key, context.folder)
                if not one.lock.is_ours():
                    raise LockLost
        except Exception as error:
            if isinstance(error, LockLost) or not one.lock.is_ours():
                return Outcome.BUSY
            cause = cause_of(error)
            if cause == "out of memory" and not alone:
                return None
            record_failure(context, one.trial, Failure(cause, traceback.format_exc(), context.call))
            return Outcome.FAILED
        context.checkpoints(one.key).clear()
        return Outcome.DONE


def record_failure(context: RunContext, trial: Trial, failure: Failure) -> None:
    """Record that a trial failed.

    Raises:
        OSError: The record can't be written.
    """
    write_failure(context.trials, trial.key, tomli_w.dumps(flat_record(trial)), failure)


@contextlib.contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Let torch use this many CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
