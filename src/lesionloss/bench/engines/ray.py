"""The engine for a Ray cluster: one task for each trial. All nodes share the disk that holds the run folder.

When a node is lost, Ray starts its trials elsewhere, and they continue from their checkpoints.
"""

from dataclasses import dataclass
from typing import Any

from lesionloss.bench.bookkeeping.failures import Failure
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.engines.status_follower import POLL_SECONDS, StatusFollower
from lesionloss.bench.execute_trial import RunContext, execute_or_wait, record_failure, use_threads
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need, threads_per_trial
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.devices import check_device, resolve_device
from lesionloss.core.errors import UsageError
from lesionloss.core.locks import acquire_lock

RETRIES = 3  # of a trial whose worker was lost


@dataclass(frozen=True)
class RayEngine:
    """Trials as tasks of a Ray cluster.

    Attributes:
        address: A running cluster, as `ray.init` takes it; None: one is started here.
        gpus: The share of a GPU that a trial gets; 0: a whole one where the cluster has GPUs and the run may use them.
    """

    address: str | None = None
    gpus: float = 0.0

    def device(self, name: str) -> str:
        """Return `name` where a cluster's nodes may have other devices than this machine, else the device here."""
        return check_device(name) if self.address else resolve_device(name)

    def threads(self, need: MemoryNeed, trials: int) -> int:
        """Return one on a cluster; on this machine, all cores divided among the trials that run at once."""
        return 1 if self.address else threads_per_trial(need, trials)

    def run_trials(self, context: RunContext, trial_list: TrialList, cohort: ListedCohort, watcher: Watcher) -> None:
        """Execute all open trials.

        Raises:
            UsageError: Ray is not installed, or no cluster answers.
        """
        ray = connect(self.address)
        follower = StatusFollower(context, trial_list, watcher)
        resources = {
            "num_cpus": trial_list.threads,
            "num_gpus": self.gpus or float(context.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0),
            "memory": memory_need(cohort, trial_list).total,
        }
        task = ray.remote(run_in_worker).options(max_retries=RETRIES, retry_exceptions=False, **resources)
        keys = [trial.key for trial in trial_list.trials if not context.done(trial.key)]
        waiting = {task.remote(context, key, trial_list.threads): key for key in keys}
        try:
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=POLL_SECONDS)
                for ref in ended:
                    _record_end(ray, ref, context, trial_list, waiting.pop(ref))
                follower.poll()
        finally:
            for ref in waiting:
                ray.cancel(ref, force=True)
            follower.poll(now=True)


def connect(address: str | None) -> Any:
    """Return the module `ray`, connected to a cluster.

    Args:
        address: A running cluster; None: start one on this machine.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs Ray: pip install 'lesionloss[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address or "local", log_to_driver=False, include_dashboard=None if address else False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"no Ray cluster answers at {address or 'this machine'}: {reason}") from error
    return ray


def run_in_worker(context: RunContext, key: str, threads: int) -> int:
    """Execute one trial in a Ray worker, with as many threads as every other of the run."""
    with use_threads(threads):
        return execute_or_wait(context, key).value


def _record_end(ray: Any, ref: Any, context: RunContext, trial_list: TrialList, key: str) -> None:
    """Take a task's result; record the failure of one that was lost too often."""
    try:
        ray.get(ref)
    except ray.exceptions.RayError as error:
        lock = acquire_lock(context.lock_path(key))
        if lock is None or context.done(key):
            return
        with lock:
            cause = "out of memory" if isinstance(error, ray.exceptions.OutOfMemoryError) else "killed"
            failure = Failure(cause, f"{type(error).__name__}: {error}", context.call)
            record_failure(context, trial_list.trial(key), failure)
