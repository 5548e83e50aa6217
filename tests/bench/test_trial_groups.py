"""Which losses are handed out together, and what becomes of one that runs out of memory beside others."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from torch import Tensor

from engine_runs import assert_same, assert_tidy
from example_trials import TRIAL
from lesionloss import Voxels, loss
from lesionloss.bench import trial_groups
from lesionloss.bench.bookkeeping.trial_list import TrialList, read_trial_list
from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.engines.local import open_trials
from lesionloss.bench.execute_trial import Outcome, execute_together
from lesionloss.bench.parallel_trials import MemoryNeed
from lesionloss.bench.run import run
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_groups import groups_of, networks_together, together_in_words
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.core.locks import acquire_lock
from lesionloss.losses import registry
from lesionloss.training.execution import network_bytes
from lesionloss.training.trial import Trial
from tiny_runs import tiny_plan

GIB = 2**30


def some_trials(pairs: int, losses: int) -> list[Trial]:
    return [replace(TRIAL, seed=seed, loss=f"loss{number}") for seed, number in product(range(pairs), range(losses))]


@pytest.mark.parametrize(
    ("pairs", "losses", "together", "parallel", "sizes"),
    [
        (2, 3, 3, 1, [3, 3]),
        (2, 3, 1, 1, [1] * 6),
        (2, 5, 2, 1, [2, 2, 1, 2, 2, 1]),
        (4, 4, 4, 2, [4, 4, 4, 4]),
        (1, 13, 13, 2, [7, 6]),  # both processes get a part of the only pair
        (1, 3, 3, 8, [1, 1, 1]),
        (3, 13, 13, 2, [13, 13, 7, 6]),
        (0, 3, 3, 2, []),
    ],
)
def test_groups_hold_losses_of_one_pair_and_keep_all_processes_at_work(
    pairs: int, losses: int, together: int, parallel: int, sizes: list[int]
) -> None:
    trials = some_trials(pairs, losses)
    groups = groups_of(trials, together, parallel)
    assert [len(keys) for keys in groups] == sizes
    assert [key for keys in groups for key in keys] == [trial.key for trial in trials]
    pair_of = {trial.key: trial.pair for trial in trials}
    assert all(len({pair_of[key] for key in keys}) == 1 for keys in groups)


@pytest.mark.parametrize(("pretrain", "turns"), [("", [1, 1, 2, 2]), ("synth(patients=2, steps=1)", [1, 2, 1, 2])])
def test_seeds_take_turns_where_each_pretrains_a_start_that_its_folds_wait_for(
    tmp_path: Path, pretrain: str, turns: list[int]
) -> None:
    recipe = replace(TRIAL.recipe, pretrain=pretrain)
    trials = tuple(replace(TRIAL, seed=seed, fold=fold, recipe=recipe) for seed in (1, 2) for fold in (0, 1))
    context = SimpleNamespace(folder=tmp_path, done=lambda key: False, lock_path=lambda key: tmp_path / "locks" / key)
    found = open_trials(cast(RunContext, context), TrialList(trials, threads=1, step_bytes=1))
    assert [trial.seed for trial in found] == turns


def test_a_trial_without_a_network_is_never_beside_networks() -> None:
    trials = [*some_trials(1, 2), replace(TRIAL, seed=0, method="difference_threshold")]
    assert len({trial.pair for trial in trials}) == 1
    assert [len(keys) for keys in groups_of(trials, 3)] == [2, 1]


def test_memory_decides_how_many_networks_are_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    need = MemoryNeed(step_bytes=GIB // 4, case_bytes=0, network_bytes=GIB)  # one trial: 1 GiB
    monkeypatch.setattr(trial_groups, "free_memory", lambda: 10 * GIB)  # 8 of them are used
    assert [networks_together(need, jobs, 13) for jobs in (1, 2, 4, 8, 100)] == [8, 4, 2, 1, 1]
    assert networks_together(need, 1, 3) == 3
    assert networks_together(need, 1, 13, wanted=5) == 5
    assert networks_together(need, 1, 3, wanted=5) == 3
    assert together_in_words(1, need) == "each loss trains alone"
    assert together_in_words(3, need).startswith("3 networks of a pair train side by side")
    assert "adds about 1024 MiB" in together_in_words(3, need)
    few, more = (network_bytes(TRIAL.recipe, f"unet3d(filters={filters})") for filters in (4, 8))
    assert 0 < few < more
    assert network_bytes(replace(TRIAL.recipe, validation_share=0.2), "unet3d(filters=4)") == few // 16 * 20


@pytest.fixture
def starving() -> Iterator[str]:
    calls = [0]

    @loss("starves", source="a test")
    def starves(v: Voxels) -> Tensor:
        """Starves: has no memory at its second call."""
        calls[0] += 1
        if calls[0] == 2:
            raise MemoryError("planted")
        return 1 - v.counts().tp

    yield "starves"
    registry.LOSSES.remove("starves")


def test_a_loss_without_memory_beside_others_goes_on_alone(data: Path, tmp_path: Path, starving: str) -> None:
    plan = tiny_plan(data, losses=("dice", starving, "hytver"))
    results = run(plan, tmp_path / "together", threads=1)
    assert not results.failed
    assert not results.missing
    run(plan, tmp_path / "alone", threads=1, engine=InProcessEngine(together=1))
    assert_same(tmp_path / "together", tmp_path / "alone")
    assert_tidy(tmp_path / "together")


def test_a_loss_that_another_process_trains_is_left_to_it(data: Path, tmp_path: Path) -> None:
    class Interrupts(SilentWatcher):
        def step(self, trial: object, step: object) -> None:
            raise KeyboardInterrupt

    plan, out = tiny_plan(data, losses=("dice", "hytver", "cross_entropy")), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(plan, out, threads=1, watcher=Interrupts())
    assert not list((out / "locks").iterdir())
    context = RunContext(out, "cpu", "a call")
    trials = [trial for trial in read_trial_list(out).trials if trial.method == "network"]
    keys = groups_of(trials, 3)[0]
    lock = acquire_lock(context.lock_path(keys[1]))
    assert lock is not None
    with lock:
        outcomes = execute_together(context, keys)
        assert outcomes == {keys[0]: Outcome.DONE, keys[1]: Outcome.BUSY, keys[2]: Outcome.DONE}
    assert execute_together(context, keys)[keys[1]] is Outcome.DONE
