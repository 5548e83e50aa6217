"""The engine for one machine: several trials at once, each in a process of its own.

A killed or crashed process affects only its own trial, and its memory goes back to the system. Processes are forked
from one that has imported everything, so that a trial starts at once.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections import deque
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess, SpawnProcess

from lesionloss.bench.bookkeeping.failures import failure_of_exit_code
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.engines.status_follower import POLL_SECONDS, StatusFollower
from lesionloss.bench.execute_trial import Outcome, RunContext, execute_or_wait, record_failure, use_threads
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need, parallel_trials, threads_per_trial
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.devices import resolve_device, see_one_device
from lesionloss.core.locks import acquire_lock, disk_time, read_lock
from lesionloss.core.processes import TERMINATE_SECONDS, TERMINATED, follow_parent

Process = ForkServerProcess | SpawnProcess

# What every trial needs; importing it anew would take each trial some ten seconds of a core.
PRELOAD = [
    *("lesionloss.bench.execute_trial", "lesionloss.bench.plan", "lesionloss.networks", "lesionloss.losses.families"),
    *("torch._dynamo", "monai.inferers", "monai.transforms"),
]
LOST = 255  # the exit code that multiprocessing gives a process whose end it could not see
STOPPED = (-signal.SIGTERM, TERMINATED)  # ended from outside: the trial has not failed and stays open


@dataclass(frozen=True)
class LocalEngine:
    """Trials in processes of this machine.

    Attributes:
        jobs: Trials at a time; None: as many as cores and memory allow.
        devices: Devices that trials get in turn; empty: that of the run. A trial sees its own GPU only.
    """

    jobs: int | None = None
    devices: tuple[str, ...] = ()

    def device(self, name: str) -> str:
        """Return the device on this machine."""
        return resolve_device(name)

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return all cores divided among the trials that run at once."""
        return threads_per_trial(need, trials)

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Execute all open trials."""
        devices = self.devices or (context.device,)
        jobs = self.jobs or _default_jobs(context, trial_list, cohort, len(devices))
        waiting = deque(_open_trials(context, trial_list))
        pool = WorkerPool(context, trial_list)
        follower = StatusFollower(context, trial_list, watcher)
        try:
            while waiting or pool.workers:
                while waiting and len(pool.workers) < jobs:
                    pool.start(waiting.popleft(), devices[pool.free_slot() % len(devices)])
                waiting.extend(pool.wait(POLL_SECONDS))
                follower.poll()
        finally:
            pool.stop()
            follower.poll(now=True)


def _default_jobs(context: RunContext, trial_list: TrialList, cohort: ListedCohort, devices: int) -> int:
    """Trials at a time: one for each GPU, or what cores and memory allow."""
    if context.device != "cpu":
        return devices
    return parallel_trials(memory_need(cohort, trial_list), len(trial_list.trials), trial_list.threads)


def _open_trials(context: RunContext, trial_list: TrialList) -> list[str]:
    """Keys of the open trials; those that another process works on come last."""
    (context.folder / "locks").mkdir(parents=True, exist_ok=True)
    now = disk_time(context.folder / "locks")
    keys = [trial.key for trial in trial_list.trials if not context.done(trial.key)]
    locked = {key for key in keys if (found := read_lock(context.lock_path(key))) is not None and found.is_alive(now)}
    return sorted(keys, key=lambda key: key in locked)


@dataclass
class PoolWorker:
    """A process and its slot (0, 1, ...), which decides its device."""

    process: Process
    slot: int


class WorkerPool:
    """The processes at work, each on one trial."""

    def __init__(self, context: RunContext, trial_list: TrialList) -> None:
        """Make an empty pool for a run."""
        self.context = context
        self.trial_list = trial_list
        self.workers: dict[str, PoolWorker] = {}
        self._processes = _context()

    def free_slot(self) -> int:
        """Return the lowest slot without a worker."""
        taken = {worker.slot for worker in self.workers.values()}
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)

    def start(self, key: str, device: str) -> None:
        """Start a process for a trial."""
        context, slot = replace(self.context, device=device), self.free_slot()
        arguments = (context, key, self.trial_list.threads)
        process = self._processes.Process(target=run_in_process, args=arguments, name=f"trial {key}")
        process.start()
        self.workers[key] = PoolWorker(process, slot)

    def wait(self, seconds: float) -> list[str]:
        """Wait until a process ends, or for some seconds; record the failures of processes that could not do so.

        Returns:
            The keys of trials to start again, because the process that forks them is gone and their end is unknown.
        """
        multiprocessing.connection.wait([worker.process.sentinel for worker in self.workers.values()], seconds)
        codes = {key: worker.process.exitcode for key, worker in self.workers.items()}
        unknown = []
        for key, code in codes.items():
            if code is not None:
                self.workers.pop(key).process.join()
                if code == LOST:
                    unknown.append(key)
                else:
                    self._record_end(key, code)
        return unknown

    def _record_end(self, key: str, code: int) -> None:
        if code in (Outcome.DONE.value, Outcome.BUSY.value, *STOPPED) or self.context.failed(key):
            return
        lock = acquire_lock(self.context.lock_path(key))
        if lock is None:  # another process has taken the trial over already
            return
        with lock:
            failure = failure_of_exit_code(code, self.context.call)
            record_failure(self.context, self.trial_list.trial(key), failure)

    def stop(self) -> None:
        """End all processes: SIGTERM lets them release their locks; those that do not end are killed."""
        for worker in self.workers.values():
            worker.process.terminate()
        for key, worker in self.workers.items():
            worker.process.join(TERMINATE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            lock = acquire_lock(self.context.lock_path(key))
            if lock is not None:
                with lock:  # released at once
                    pass
        self.workers.clear()


def _context() -> multiprocessing.context.ForkServerContext | multiprocessing.context.SpawnContext:
    """Fork from a process that has imported everything, where forking is safe."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # An import that looks for GPUs must not open the driver: processes forked after that could not use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    context.set_forkserver_preload(PRELOAD)
    return context


def run_in_process(context: RunContext, key: str, threads: int) -> None:
    """Execute one trial and end this process with the outcome as exit code."""
    follow_parent()
    try:
        own = replace(context, device=see_one_device(context.device))
        with use_threads(threads):
            sys.exit(execute_or_wait(own, key).value)
    except OSError:  # not even the failure can be recorded; the parent tries again, and names the file
        sys.exit(1)
