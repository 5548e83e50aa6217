"""The engine of a Slurm cluster: an array of workers, each going through the trials that are open until none is left.

The run's folder lies on a disk that all nodes share. A worker that is preempted or runs out of its time is queued
again, and its trial goes on from the checkpoint, there or by another worker.
"""

import logging
import os
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lesionloss.bench.engines.following import LOOK_SECONDS, Follower
from lesionloss.bench.engines.local import Local
from lesionloss.bench.execute import Order
from lesionloss.bench.run_cohort import ListedCohort, found_cohort
from lesionloss.bench.side_by_side import Need, need_of
from lesionloss.bench.trial_list import Agenda, read_agenda
from lesionloss.bench.watcher import Silent, Watcher
from lesionloss.core.errors import UsageError
from lesionloss.training.execution import GIB

NAMED_BY_SUBMITIT = ("timeout_min", "nodes", "cpus_per_task", "gpus_per_node", "mem_gb", "name")


@dataclass(frozen=True)
class Slurm:
    """`workers`: jobs of the array; `settings`: options of sbatch; `jobs`: trials that a worker does at a time (None:
    one). `cluster`: "slurm", or "local" for plain processes of this machine in its place."""

    workers: int = 4
    settings: tuple[tuple[str, str | int], ...] = ()
    jobs: int | None = None
    cluster: str = "slurm"

    def threads(self, need: Need, trials: int) -> int:
        """What the options ask for each worker, divided among its trials; else one."""
        return max(1, int(dict(self.settings).get("cpus_per_task", 1)) // (self.jobs or 1))

    def work(self, order: Order, agenda: Agenda, cohort: ListedCohort, watcher: Watcher) -> None:
        left = sum(not order.done(trial.key) for trial in agenda.trials)
        if not left:
            return
        workers = min(self.workers, left)
        executor = self._executor(order, agenda, need_of(cohort, agenda), workers)
        follower = Follower(order, agenda, watcher)
        jobs = executor.map_array(Worker(order, self.jobs or 1), range(workers))
        number = jobs[0].job_id.partition("_")[0]
        watcher.note(f"{workers} workers as {self.cluster} job {number}, logs in {order.folder}/slurm")
        watcher.note("Ctrl-C ends the watching, not the workers")
        while not all(job.done() for job in jobs):
            time.sleep(LOOK_SECONDS)
            follower.look()
        follower.look(now=True)
        for job in jobs:
            error = job.exception()
            if error is not None:
                watcher.note(f"worker {job.job_id} ended badly: {str(error).strip().splitlines()[-1]}")

    def _executor(self, order: Order, agenda: Agenda, need: Need, workers: int) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise UsageError("--engine slurm needs submitit: pip install 'lesionloss[slurm]'") from error
        logging.getLogger("submitit").setLevel(logging.ERROR)  # it warns at every look where there is no accounting
        try:
            executor = submitit.AutoExecutor(order.folder / "slurm", cluster=self.cluster)
        except RuntimeError as error:
            raise UsageError(f"no Slurm here: {error}") from error
        side = self.jobs or 1
        ours = {
            "name": "lesionloss",
            "timeout_min": 24 * 60,
            "cpus_per_task": agenda.threads * side,
            "mem_gb": max(1, -(-need.total * side // GIB)),
            "slurm_array_parallelism": workers,
            "slurm_additional_parameters": {"requeue": True},
        }
        asked = {key if key in NAMED_BY_SUBMITIT else f"slurm_{key}": value for key, value in self.settings}
        try:
            executor.update_parameters(**(ours | asked))
        except (NameError, TypeError, ValueError) as error:
            raise UsageError(f"--slurm: {error}") from error
        return executor


@dataclass(frozen=True)
class Worker:
    """What a job of the array does: the local engine on its node, until nothing is open."""

    order: Order
    jobs: int

    def __call__(self, number: int) -> int:
        """Do what is left; gives the process id, for the log.

        Slurm asks to end by SIGTERM, which submitit ignores; here the trials are released before the job is killed.
        """
        signal.signal(signal.SIGTERM, _leave)
        Local(self.jobs).work(self.order, read_agenda(self.order.folder), found_cohort(self.order.folder), Silent())
        return os.getpid()

    def checkpoint(self, number: int) -> Any:
        """Called by submitit when the time is over or the job is preempted: the same again, later."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, number)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def setting(text: str) -> tuple[str, str | int]:
    """`partition=gpu`. Raises UsageError for anything else."""
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_").removeprefix("slurm_")
    if not equals or not key.isidentifier():
        raise UsageError(f"--slurm needs KEY=VALUE, such as partition=gpu, got {text!r}")
    value = value.strip()
    return key, int(value) if value.isdecimal() else value
