"""The engine of a Ray cluster: one task a trial. The run's folder lies on a disk that all nodes share.

When a node is lost, Ray starts its trials elsewhere, and they go on from their checkpoints.
"""

from dataclasses import dataclass
from typing import Any

from lesionloss.bench.engines.following import LOOK_SECONDS, Follower
from lesionloss.bench.execute import Order, computing_with, execute_in_turn, keep
from lesionloss.bench.failures import Failure
from lesionloss.bench.locks import take
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.bench.side_by_side import Need, need_of, threads_of_each
from lesionloss.bench.trial_list import Agenda
from lesionloss.bench.watcher import Watcher
from lesionloss.core.errors import UsageError

RETRIES = 3  # of a trial whose worker was lost


@dataclass(frozen=True)
class Ray:
    """`address`: a cluster that runs, as `ray.init` takes it; None: one is started here. `gpus`: share for a trial."""

    address: str | None = None
    gpus: float = 0.0

    def threads(self, need: Need, trials: int) -> int:
        """As on this machine alone: nodes are taken to be alike."""
        return 1 if self.address else threads_of_each(need, trials)

    def work(self, order: Order, agenda: Agenda, cohort: ListedCohort, watcher: Watcher) -> None:
        ray = connected(self.address)
        follower = Follower(order, agenda, watcher)
        resources = {"num_cpus": agenda.threads, "num_gpus": self.gpus, "memory": need_of(cohort, agenda).total}
        task = ray.remote(remote_trial).options(max_retries=RETRIES, retry_exceptions=False, **resources)
        left = [trial.key for trial in agenda.trials if not order.done(trial.key)]
        waiting = {task.remote(order, key, agenda.threads): key for key in left}
        try:
            while waiting:
                ended, _ = ray.wait(list(waiting), timeout=LOOK_SECONDS)
                for ref in ended:
                    finish(ray, ref, order, agenda, waiting.pop(ref))
                follower.look()
        finally:
            for ref in waiting:
                ray.cancel(ref, force=True)
            follower.look(now=True)


def connected(address: str | None) -> Any:
    """The module, connected to a cluster. Raises UsageError where Ray isn't installed or no cluster answers."""
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


def remote_trial(order: Order, key: str, threads: int) -> int:
    """What a worker does: one trial, with as many threads as every other of the run has."""
    with computing_with(threads):
        return execute_in_turn(order, key).value


def finish(ray: Any, ref: Any, order: Order, agenda: Agenda, key: str) -> None:
    """Take a task's result; of one that was lost too often, write down that it failed."""
    try:
        ray.get(ref)
    except ray.exceptions.RayError as error:
        claim = take(order.claim_of(key))
        if claim is None or order.done(key):
            return
        with claim:
            lost = isinstance(error, ray.exceptions.OutOfMemoryError)
            text = f"{type(error).__name__}: {error}"
            keep(order, agenda.trial(key), Failure("out of memory" if lost else "killed", text, order.call))
