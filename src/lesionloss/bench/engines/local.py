"""The engine for one machine: several pairs at once, each in a process of its own, all losses of a pair side by side.

Where a process is killed or crashes, each of its trials that is not finished goes on in a process of its own, so that
the one that is to blame affects no other. Memory goes back to the system. Processes are forked from one that has
imported everything, so that a trial starts at once.
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
from lesionloss.bench.execute_trial import execute_or_wait, record_failure, use_threads
from lesionloss.bench.gpu_sharing import GpuMemoryWatcher, SharedNumber, memory_of_gpu, processes_on_gpus
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need, parallel_trials, threads_per_trial
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_groups import Group, groups_of, networks_together, together_in_words
from lesionloss.bench.watcher import Watcher
from lesionloss.core.devices import resolve_device, see_one_device
from lesionloss.core.locks import acquire_lock, disk_time, read_lock, remove_stale_lock
from lesionloss.core.number_text import plural
from lesionloss.core.processes import TERMINATE_SECONDS, TERMINATED, follow_parent
from lesionloss.training.execution import GIB
from lesionloss.training.trial import Trial

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
        jobs: Processes at a time; None: as many as cores and memory allow, that of the GPUs included.
        devices: Devices that processes get in turn; empty: that of the run. A process sees its own GPU only.
        together: Losses of a pair that train side by side in a process; None: as memory allows.
        workers: How many engines like this one work on the run, which decides how pairs are split.
    """

    jobs: int | None = None
    devices: tuple[str, ...] = ()
    together: int | None = None
    workers: int = 1

    def device(self, name: str) -> str:
        """Return the device on this machine."""
        return resolve_device(name)

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return all cores divided among the trials that run at once."""
        return threads_per_trial(need, trials)

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Execute all open trials."""
        devices = self.devices or (context.device,)
        need = memory_need(cohort, trial_list)
        pool = WorkerPool(context, trial_list)
        jobs = self._processes(need, trial_list, devices, pool)
        sharing = jobs if context.device == "cpu" else -(-jobs // len(devices))
        together = networks_together(need, sharing, trial_list.losses, self.together, context.device)
        watcher.note(together_in_words(together, need))
        waiting = deque(groups_of(open_trials(context, trial_list), together, jobs * self.workers))
        follower = StatusFollower(context, trial_list, watcher)
        try:
            while waiting or pool.workers:
                before, jobs = jobs, self._processes(need, trial_list, devices, pool)
                if jobs != before:
                    peak = f"a process needs {pool.gpu_bytes.value / GIB:.2g} GiB of a GPU"
                    watcher.note(f"{peak}: {plural(jobs, 'process')} on {plural(len(devices), 'GPU')}")
                while waiting and len(pool.workers) < jobs:
                    pool.start(waiting.popleft(), devices[pool.free_slot() % len(devices)], jobs)
                waiting.extend(pool.wait(POLL_SECONDS))
                follower.poll()
        finally:
            pool.stop()
            follower.poll(now=True)

    def _processes(self, need: MemoryNeed, trial_list: TrialList, devices: tuple[str, ...], pool: "WorkerPool") -> int:
        """Processes at a time: as asked for, else as cores, memory and the memory of GPUs allow."""
        trials, threads = len(trial_list.trials), trial_list.threads
        if self.jobs is not None:
            return self.jobs
        if devices[0] == "cpu":
            return parallel_trials(need, trials, threads)
        peak, whole = pool.gpu_bytes.value, memory_of_gpu(devices[0])
        return processes_on_gpus(len(devices), whole, peak, need, trials, threads)


def open_trials(context: RunContext, trial_list: TrialList) -> list[Trial]:
    """The open trials; those that another process works on come last.

    With pretraining, seeds take turns: each pretrains a start of its own, which its other folds would wait for.
    """
    (context.folder / "locks").mkdir(parents=True, exist_ok=True)
    now = disk_time(context.folder / "locks")
    trials = [trial for trial in trial_list.trials if not context.done(trial.key)]
    locks = {trial.key: read_lock(context.lock_path(trial.key)) for trial in trials}
    locked = {key for key, found in locks.items() if found is not None and found.is_alive(now)}
    return sorted(trials, key=lambda trial: (trial.key in locked, trial.fold if trial.recipe.pretrain else 0))


@dataclass
class PoolWorker:
    """A process and its slot (0, 1, ...), which decides its device."""

    process: Process
    slot: int


class WorkerPool:
    """The processes at work, each on trials of one pair.

    Attributes:
        gpu_bytes: The most memory of a GPU that one of them has needed; 0: none has taken a step yet.
    """

    def __init__(self, context: RunContext, trial_list: TrialList) -> None:
        """Make an empty pool for a run."""
        self.context = context
        self.trial_list = trial_list
        self.workers: dict[Group, PoolWorker] = {}
        self._processes = _context()
        self.gpu_bytes = self._processes.Value("q", 0)

    def free_slot(self) -> int:
        """Return the lowest slot without a worker."""
        taken = {worker.slot for worker in self.workers.values()}
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)

    def start(self, keys: Group, device: str, processes: int) -> None:
        """Start a process for trials of one pair; so many processes share the cores of this machine."""
        context, slot = replace(self.context, device=device, processes=processes), self.free_slot()
        arguments = (context, keys, self.trial_list.threads, self.gpu_bytes)
        process = self._processes.Process(target=run_in_process, args=arguments, name=f"trial {keys[0]}")
        process.start()
        self.workers[keys] = PoolWorker(process, slot)

    def wait(self, seconds: float) -> list[Group]:
        """Wait until a process ends, or for some seconds; record the failures of processes that could not do so.

        Returns:
            The trials to start again: those of a process whose end is unknown, because the process that forks it is
            gone; and, each alone, those that a crashed process had not finished.
        """
        multiprocessing.connection.wait([worker.process.sentinel for worker in self.workers.values()], seconds)
        codes = {keys: worker.process.exitcode for keys, worker in self.workers.items()}
        again: list[Group] = []
        for keys, code in codes.items():
            if code is not None:
                self.workers.pop(keys).process.join()
                again += [keys] if code == LOST else self._record_end(keys, code)
        return again

    def _record_end(self, keys: Group, code: int) -> list[Group]:
        left = [key for key in keys if not self.context.done(key) and not self.context.failed(key)]
        if code in (0, *STOPPED) or not left:
            return []
        if len(keys) > 1:
            return [(key,) for key in left]
        self._record_failure(keys[0], code)
        return []

    def _record_failure(self, key: str, code: int) -> None:
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
        for keys, worker in self.workers.items():
            worker.process.join(TERMINATE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            for key in keys:
                remove_stale_lock(self.context.lock_path(key))
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


def run_in_process(context: RunContext, keys: Group, threads: int, gpu_bytes: SharedNumber) -> None:
    """Execute trials of one pair; what became of them is in the run folder."""
    follow_parent()
    try:
        own = replace(context, device=see_one_device(context.device))
        memory = GpuMemoryWatcher(own.device, gpu_bytes)
        with use_threads(threads):
            execute_or_wait(own, keys, memory)
        memory.look()  # predictions may need more than training
    except OSError:  # not even the failure can be recorded; the parent tries again, and names the file
        sys.exit(1)
