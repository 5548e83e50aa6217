"""The engine for a Ray cluster: a task for all losses of a pair. All nodes share the disk that holds the run folder.

When a node is lost, Ray starts its trials elsewhere, and they continue from their checkpoints.
"""

from dataclasses import dataclass
from typing import Any

from lesionloss.bench.bookkeeping.failures import Failure
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.engines.status_follower import POLL_SECONDS, StatusFollower
from lesionloss.bench.execute_trial import execute_or_wait, record_failure, use_threads
from lesionloss.bench.parallel_trials import MemoryNeed, memory_need, threads_per_trial
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_groups import Group, groups_of, networks_together, together_in_words
from lesionloss.bench.watcher import Watcher
from lesionloss.core.devices import check_device, resolve_device
from lesionloss.core.errors import UsageError
from lesionloss.core.locks import acquire_lock

RETRIES = 3  # of a task whose worker was lost


@dataclass(frozen=True)
class RayEngine:
    """Trials as tasks of a Ray cluster.

    Attributes:
        address: A running cluster, as `ray.init` takes it; None: one is started here.
        gpus: The share of a GPU that a task gets; 0: a whole one where the cluster has GPUs and the run may use them.
        together: Losses of a pair that train side by side in a task; None: as the memory of this machine allows.
    """

    address: str | None = None
    gpus: float = 0.0
    together: int | None = None

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
        need = memory_need(cohort, trial_list)
        together = networks_together(need, 1, trial_list.losses, self.together, context.device)
        watcher.note(together_in_words(together, need))
        resources = {
            "num_cpus": trial_list.threads,
            "num_gpus": self.gpus or float(context.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0),
            "memory": need.total + (together - 1) * need.network_bytes,
        }
        task = ray.remote(run_in_worker).options(max_retries=RETRIES, retry_exceptions=False, **resources)
        open_trials = [trial for trial in trial_list.trials if not context.done(trial.key)]
        parallel = max(1, int(ray.cluster_resources().get("CPU", 1)) // trial_list.threads)
        groups = groups_of(open_trials, together, parallel)
        waiting = {task.remote(context, keys, trial_list.threads): keys for keys in groups}
        try:
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=POLL_SECONDS)
                for ref in ended:
                    for keys in _record_end(ray, ref, context, trial_list, waiting.pop(ref)):
                        waiting[task.remote(context, keys, trial_list.threads)] = keys
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


def run_in_worker(context: RunContext, keys: Group, threads: int) -> None:
    """Execute trials of one pair in a Ray worker, with as many threads as all others of the run."""
    with use_threads(threads):
        execute_or_wait(context, keys)


def _record_end(ray: Any, ref: Any, context: RunContext, trial_list: TrialList, keys: Group) -> list[Group]:
    """Take a task's result. Of one lost too often, return the trials, to be tried alone; of a single one, record it."""
    try:
        ray.get(ref)
    except ray.exceptions.RayError as error:
        key, *others = keys
        if others:
            return [(each,) for each in keys if not context.done(each) and not context.failed(each)]
        lock = acquire_lock(context.lock_path(key))
        if lock is None or context.done(key):
            return []
        with lock:
            cause = "out of memory" if isinstance(error, ray.exceptions.OutOfMemoryError) else "killed"
            failure = Failure(cause, f"{type(error).__name__}: {error}", context.call)
            record_failure(context, trial_list.trial(key), failure)
    return []
