"""Run a plan: prepare the patients once, write down what is to be done, and let an engine do what isn't yet."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lesionloss.bench.engines import Engine, check_losses
from lesionloss.bench.engines.inside import Inside
from lesionloss.bench.execute import Order, computing_with
from lesionloss.bench.locks import comes_free, forget, held, take
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan_storage import claim
from lesionloss.bench.pretrained_starts import make_starts
from lesionloss.bench.run_cohort import ListedCohort, check_source, made_cohort
from lesionloss.bench.side_by_side import need_of
from lesionloss.bench.trial_list import Agenda, difference_trials, settle
from lesionloss.bench.trials import check_fit, fold_warnings, trials_of
from lesionloss.bench.watcher import Silent, Watcher
from lesionloss.core.errors import UsageError
from lesionloss.data.prepared import load_channels
from lesionloss.training.execution import step_bytes, way_of

if TYPE_CHECKING:
    from lesionloss.runs.results import Results


def run(
    plan: Plan,
    out: str | Path,
    *,
    device: str = "cpu",
    watcher: Watcher | None = None,
    engine: Engine | None = None,
    threads: int | None = None,
    checkpoint_seconds: float = 120.0,
) -> "Results":
    """Run every trial of `plan` that `out` does not hold yet, and return all results.

    Without an `engine`, one after the other in this process. `threads`: CPU threads of each trial of a run that begins.
    Raises UsageError when `out` holds another plan or was begun otherwise, DataError when the data can't be used. A
    trial that fails is recorded in `KEY.failed` and the others go on.
    """
    from lesionloss.runs.load_run import load

    watcher, engine, folder = watcher or Silent(), engine or Inside(), Path(out).absolute()
    order = Order(folder, device, uuid.uuid4().hex, checkpoint_seconds)
    if len(plan.runs()) > 1:
        raise UsageError(f"plan {plan.name} is {len(plan.runs())} runs; take them from bench.storing.runs_of")
    if not isinstance(engine, Inside):
        check_losses(plan.losses)
    if not (folder / "plan.toml").exists():
        check_source(plan)  # so that a call that can't work leaves no run behind
    claim(plan, folder)
    with alone(folder, "cohort", watcher):
        cohort = made_cohort(plan, folder, watcher)
    first = cohort.read([cohort.cases[0].name])
    check_fit(plan, first)
    for warning in fold_warnings(plan, cohort):
        watcher.note(warning)
    agenda = agenda_of(plan, cohort, device, engine, threads)
    agenda = settle(folder, agenda, threads)
    watcher.note(way_of(agenda.trials[-1].recipe, device, agenda.threads, agenda.step_bytes).sentence())
    if plan.training.pretrain:
        with alone(folder, "pretrained", watcher), computing_with(agenda.threads):
            networks = [trial for trial in agenda.trials if trial.method == "network"]
            make_starts(plan, networks, first, folder, device, watcher)
    engine.work(order, agenda, cohort, watcher)
    for trial in agenda.trials:
        if order.done(trial.key):
            forget(order.claim_of(trial.key))
    return load(folder)


@contextlib.contextmanager
def alone(folder: Path, what: str, watcher: Watcher) -> Iterator[None]:
    """Do what all trials need in one process at a time; the next finds it done."""
    path = folder / "claims" / what
    if held(path) is not None:
        watcher.note(f"{what}: another process may be at it; waiting for it")
    while (mine := take(path)) is None:
        comes_free(path)
    with mine:
        yield


def agenda_of(plan: Plan, cohort: ListedCohort, device: str, engine: Engine, threads: int | None) -> Agenda:
    """All trials in the order of the work: the method without a network, then pair by pair."""
    trials = trials_of(plan, cohort, device)
    channels = {load_channels(cohort.folder / f"{case.name}.npz") for case in cohort.cases}
    has_difference = all("difference" in names for names in channels)
    needed = step_bytes(trials[0].recipe, plan.network.text, max(map(len, channels)))
    agenda = Agenda((*(difference_trials(trials) if has_difference else ()), *trials), 1, needed)
    wanted = threads or engine.threads(need_of(cohort, agenda), len(trials))
    return Agenda(agenda.trials, wanted, needed)
