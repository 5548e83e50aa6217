"""The engine for a Slurm cluster: an array of workers, each executing open trials until none is left.

All nodes share the disk that holds the run folder. A worker that is preempted or reaches its time limit is queued
again, and its trial continues from the checkpoint, in that worker or another one.
"""

import logging
import os
import signal
import time
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from lesionloss.bench.bookkeeping.trial_list import TrialList, read_trial_list
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.engines.repeat_trial import train_noise_floor
from lesionloss.bench.engines.status_follower import POLL_SECONDS, StatusFollower
from lesionloss.bench.gpu_sharing import CORES_OF_PROCESS
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need
from lesionloss.bench.run_cohort import ListedCohort, read_run_cohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.watcher import SilentWatcher, Watcher
from lesionloss.core.devices import all_devices, check_device, resolve_device
from lesionloss.core.errors import UsageError
from lesionloss.runs.run_records import TRIALS
from lesionloss.training.execution import GIB

NAMED_BY_SUBMITIT = ("timeout_min", "nodes", "cpus_per_task", "gpus_per_node", "mem_gb", "name")


@dataclass(frozen=True)
class SlurmEngine:
    """Trials in the jobs of a Slurm array.

    Attributes:
        workers: Jobs of the array.
        settings: Options of sbatch.
        jobs: Processes at a time in each worker; None: one, on a node with GPUs as many as these hold.
        together: Losses of a pair that train side by side; None: as the memory of the node allows.
        cluster: `slurm`, or `local` for plain processes of this machine instead.
    """

    workers: int = 4
    settings: tuple[tuple[str, str | int], ...] = ()
    jobs: int | None = None
    together: int | None = None
    cluster: str = "slurm"

    def device(self, name: str) -> str:
        """Return `name`: the nodes that run trials have other devices than the one that submits them."""
        return check_device(name)

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return the CPUs that the settings give each worker, divided among its processes; else one."""
        return max(1, int(dict(self.settings).get("cpus_per_task", 1)) // self._jobs)

    @property
    def _jobs(self) -> int:
        """Processes of a worker: as asked for, else one on each GPU that the settings give it."""
        return self.jobs or self._gpus or 1

    @property
    def _gpus(self) -> int:
        """The GPUs that the settings give each worker, such as 2 or a100:2."""
        number = str(dict(self.settings).get("gpus_per_node", "")).rpartition(":")[2]
        return int(number) if number.isdecimal() else 0

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Submit the array and wait until it is done.

        Raises:
            UsageError: submitit or Slurm is missing, or a setting is wrong.
        """
        left = sum(not context.done(trial.key) for trial in trial_list.trials)
        if not left:
            return
        workers = min(self.workers, left)
        executor = self._executor(context, trial_list, memory_need(cohort, trial_list), workers)
        follower = StatusFollower(context, trial_list, watcher)
        jobs = executor.map_array(SlurmWorker(context, self.jobs, self.together, workers), range(workers))
        number = jobs[0].job_id.partition("_")[0]
        watcher.note(f"{workers} workers as {self.cluster} job {number}, logs in {context.folder}/slurm")
        watcher.note("Ctrl-C stops watching; the workers go on")
        while not all(job.done() for job in jobs):
            time.sleep(POLL_SECONDS)
            follower.poll()
        follower.poll(now=True)
        for job in jobs:
            error = job.exception()
            if error is not None:
                watcher.note(f"worker {job.job_id} failed: {str(error).strip().splitlines()[-1]}")

    def _executor(self, context: RunContext, trial_list: TrialList, need: MemoryNeed, workers: int) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise UsageError("--engine slurm needs submitit: pip install 'lesionloss[slurm]'") from error
        logging.getLogger("submitit").setLevel(logging.ERROR)  # it warns at every poll where there is no accounting
        try:
            executor = submitit.AutoExecutor(context.folder / "slurm", cluster=self.cluster)
        except RuntimeError as error:
            raise UsageError(f"no Slurm here: {error}") from error
        jobs = self._jobs
        defaults = {
            "name": "lesionloss",
            "timeout_min": 24 * 60,
            "cpus_per_task": max(trial_list.threads, CORES_OF_PROCESS if self._gpus else 1) * jobs,
            "mem_gb": max(1, -(-need.total * jobs // GIB)),
            "slurm_array_parallelism": workers,
            "slurm_additional_parameters": {"requeue": True},
        }
        given = {key if key in NAMED_BY_SUBMITIT else f"slurm_{key}": value for key, value in self.settings}
        try:
            executor.update_parameters(**(defaults | given))
        except (NameError, TypeError, ValueError) as error:
            raise UsageError(f"--slurm: {error}") from error
        return executor


@dataclass(frozen=True)
class SlurmWorker:
    """A job of the array: the local engine on its node, until no trial is open; then the noise floor."""

    context: RunContext
    jobs: int | None
    together: int | None = None
    workers: int = 1

    def __call__(self, number: int) -> int:
        """Execute open trials; return the process id, for the log.

        Slurm sends SIGTERM, which submitit ignores; here the trials are released before the job is killed.
        """
        signal.signal(signal.SIGTERM, _exit_on_signal)
        folder = self.context.folder
        devices = all_devices() if self.context.device == "auto" else (resolve_device(self.context.device),)
        context = replace(self.context, device=devices[0], place=TRIALS)
        engine = LocalEngine(
            self.jobs or (1 if devices[0] == "cpu" else None), devices, together=self.together, workers=self.workers
        )
        trial_list, cohort = read_trial_list(folder), read_run_cohort(folder)
        engine.run_trials(context, trial_list, cohort, SilentWatcher())
        train_noise_floor(engine, context, trial_list, cohort, SilentWatcher())
        return os.getpid()

    def checkpoint(self, number: int) -> Any:
        """Queue the same work again; submitit calls this when the time is over or the job is preempted."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, number)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def parse_setting(text: str) -> tuple[str, str | int]:
    """Read an option of sbatch such as `partition=gpu`.

    Raises:
        UsageError: The text is not KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_").removeprefix("slurm_")
    if not equals or not key.isidentifier():
        raise UsageError(f"--slurm needs KEY=VALUE, such as partition=gpu, got {text!r}")
    value = value.strip()
    return key, int(value) if value.isdecimal() else value
