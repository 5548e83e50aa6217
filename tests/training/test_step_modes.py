"""Steps as they are written and compiled: the same trials, chosen by measurement, one choice for a whole run."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo import config

from example_trials import RECIPE, TRIAL
from lesionloss import UsageError
from lesionloss.bench import step_choice
from lesionloss.bench.run import run
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.step_choice import FILE, TimedSteps, check_step_mode, faster, step_mode_of
from lesionloss.core.errors import DataError
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.loop import TrainingResult, TrialToTrain, train_together
from lesionloss.training.step_modes import COMPILED, EAGER, passes_of
from tiny_runs import network_folder, tiny_plan

LOSSES = ("dice", "hytver", "cross_entropy")


def quick_compiler(monkeypatch: pytest.MonkeyPatch, compiled: list[Any]) -> None:
    """Trace networks as torch.compile does, but run what was traced without code for this processor."""

    def backend(traced: Any, inputs: Any) -> Any:
        compiled.append(traced)
        return traced

    compile_with = torch.compile
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", lambda network, **more: compile_with(network, backend=backend, **more))


def trained(cases: list[PreparedCase], network: str, mode: str) -> list[TrainingResult]:
    recipe = replace(RECIPE, steps=4, patch=(16, 16, 16), window=(16, 16, 16))
    names = tuple(case.name for case in cases)
    trials = [replace(TRIAL, loss=loss, network=network, recipe=recipe, train=names) for loss in LOSSES]
    found = train_together([TrialToTrain(trial) for trial in trials], cases, step_mode=mode)
    results = [each for each in found if isinstance(each, TrainingResult)]
    assert len(results) == len(found), found
    return results


@pytest.mark.parametrize(
    "network", ["unet3d(filters=4, levels=2, group=2)", pytest.param("vnet(filters=2)", marks=pytest.mark.slow)]
)
def test_compiled_steps_train_the_same_trials(
    cases: list[PreparedCase], network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs: list[Any] = []
    quick_compiler(monkeypatch, programs)
    eager, compiled = (trained(cases, network, mode) for mode in (EAGER, COMPILED))
    assert programs
    for ours, theirs in zip(compiled, eager, strict=True):
        assert (ours.step_mode, theirs.step_mode) == (COMPILED, EAGER)
        assert ours.weights_hash == theirs.weights_hash
        assert ours.batches_hash == theirs.batches_hash
        for mine, other in zip(ours.history, theirs.history, strict=True):
            assert mine.loss == pytest.approx(other.loss, rel=1e-4)
    first = len(programs)
    trained(cases, network, COMPILED)
    assert len(programs) == first  # networks of one kind share what was compiled, step after step


def test_a_step_that_torch_stops_compiling_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one loss would be computed in another way than the next."""
    quick_compiler(monkeypatch, [])

    class Changing(torch.nn.Module):
        times = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.times

    network = Changing()
    passes = passes_of(network, COMPILED)
    with pytest.raises(Exception, match="recompile_limit"):
        for network.times in range(20):
            passes(torch.ones(2))
    assert not config.fail_on_recompile_limit_hit


@pytest.mark.parametrize(
    ("eager", "compiled", "steps", "mode"),
    [
        ((0.1, 0.1, 0.5), (20.0, 0.05, 0.5), 1000, COMPILED),
        ((0.1, 0.1, 0.5), (20.0, 0.05, 0.5), 100, EAGER),  # compiling takes longer than it saves
        ((0.1, 0.1, 0.5), (0.1, 0.099, 0.5), 1000, EAGER),  # too little
        ((0.1, 0.1, 0.5), (1.0, 0.01, 0.6), 1000, EAGER),  # another loss
        ((0.1, 0.1, 0.5), (1.0, 0.01, math.nan), 1000, EAGER),
    ],
)
def test_the_mode_that_ends_first_is_chosen(
    eager: tuple[float, float, float], compiled: tuple[float, float, float], steps: int, mode: str
) -> None:
    assert faster(TimedSteps(*eager), TimedSteps(*compiled), steps).mode == mode


def test_the_first_process_decides_and_others_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {EAGER: 0.5, COMPILED: 0.1}
    asked: list[str] = []

    def timed(trial: object, channels: int, device: str, mode: str) -> TimedSteps:
        asked.append(mode)
        return TimedSteps(1.0, seconds[mode], 0.25)

    monkeypatch.setattr(step_choice, "_timed_steps", timed)
    trial = replace(TRIAL, recipe=replace(RECIPE, steps=500))
    context = RunContext(tmp_path, "cpu", "call", step="auto")
    assert step_mode_of(context, trial, 3, 2) == COMPILED
    record = json.loads((tmp_path / FILE).read_text())
    assert record["timed"][COMPILED] == {"first": 1.0, "each": 0.1, "loss": 0.25}
    assert record["reason"] == "1000 steps of a process: eager 500 s, compiled 101 s"
    seconds[COMPILED] = 9.0  # on another node
    assert step_mode_of(context, trial, 3, 2) == COMPILED
    assert step_mode_of(replace(context, step=EAGER), trial, 3, 2) == COMPILED
    assert asked == [EAGER, COMPILED]
    assert not list((tmp_path / "locks").iterdir())
    deterministic = replace(context, folder=tmp_path / "other", deterministic=True)
    assert step_mode_of(deterministic, trial, 3, 2) == EAGER


def test_steps_are_timed_as_trials_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_compiler(monkeypatch, [])
    trial = replace(TRIAL, network="unet3d(filters=4, levels=2, group=2)")
    eager, compiled = (step_choice._timed_steps(trial, 3, "cpu", mode) for mode in (EAGER, COMPILED))
    assert compiled.loss == pytest.approx(eager.loss, rel=1e-4)
    assert 0 < eager.each < 60


def test_steps_that_can_not_be_compiled_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(trial: object, channels: int, device: str, mode: str) -> TimedSteps:
        if mode == COMPILED:
            raise RuntimeError("no compiler")
        return TimedSteps(1.0, 0.1, 0.25)

    monkeypatch.setattr(step_choice, "_timed_steps", timed)
    assert step_mode_of(RunContext(tmp_path, "cpu", "call", step="auto"), TRIAL, 3, 1) == EAGER
    assert json.loads((tmp_path / FILE).read_text())["reason"] == "can't be compiled: RuntimeError"


def test_a_run_keeps_the_mode_that_it_was_started_with(data: Path, tmp_path: Path) -> None:
    plan, out = tiny_plan(data), tmp_path / "run"
    with pytest.raises(UsageError, match="--step must be eager, compiled or auto, got 'graph'"):
        run(plan, out, threads=1, step="graph")
    assert not out.exists()
    run(plan, out, threads=1)
    assert json.loads((out / FILE).read_text())["mode"] == EAGER
    machine = json.loads((network_folder(out) / "machine.json").read_text())
    assert machine["arithmetic"] == {"deterministic": False, "step": EAGER}
    with pytest.raises(UsageError, match=r"was started with eager steps.*give --step eager"):
        run(plan, out, threads=1, step=COMPILED)
    check_step_mode(out, "auto")
    (out / FILE).write_text('{"mode": "fast"}')
    with pytest.raises(DataError, match=r"step\.json: mode must be eager or compiled, got 'fast'"):
        run(plan, out, threads=1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_a_run_with_compiled_steps(data: Path, tmp_path: Path) -> None:
    torch.compiler.reset()
    plan, out = tiny_plan(data), tmp_path / "run"
    results = run(plan, out, threads=1, step=COMPILED, noise_floor=True)
    assert not results.failed
    assert len(results.repeated) == 1
    for trial in results.trials:
        if trial.method == "network":
            assert trial.machine["arithmetic"]["step"] == COMPILED
    run(plan, tmp_path / "auto", threads=1, step="auto")
    timed = json.loads((tmp_path / "auto" / FILE).read_text())["timed"]
    assert set(timed) == {EAGER, COMPILED}
