"""One trial is trained twice: exactly equal on a CPU, as far apart as a device makes them elsewhere."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from example_trials import TRIAL
from lesionloss.bench.bookkeeping.failures import Failure, write_failure
from lesionloss.bench.bookkeeping.trial_list import TrialList
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.engines.repeat_trial import train_noise_floor
from lesionloss.bench.one_trial import run_trial
from lesionloss.bench.one_trial.trial_files import write_machine
from lesionloss.bench.run import run
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.cli import main
from lesionloss.report.noise_wording import noise_floor_record, noise_floor_sentence
from lesionloss.report.report_content import collect_content
from lesionloss.runs.load_run import load
from lesionloss.runs.results import Results
from lesionloss.runs.verify import verify_run
from lesionloss.statistics import NoiseFloor, compare, measure_noise_floor
from lesionloss.training.loop import train_together
from lesionloss.training.training_run import TrainingResult
from tiny_runs import tiny_plan

FAKE = "A GPU that is not there"


class Notes(SilentWatcher):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def repeated(out: Path) -> list[Path]:
    return sorted((out / "noise_floor").glob("*"))


@pytest.mark.parametrize("engine", [None, pytest.param(LocalEngine(jobs=1), marks=pytest.mark.slow)])
def test_on_a_cpu_two_equal_training_runs_are_equal(data: Path, tmp_path: Path, engine: LocalEngine | None) -> None:
    out, plan = tmp_path / "run", tiny_plan(data)
    without = run(plan, out, threads=1, engine=engine)
    assert measure_noise_floor(without, "dice") is None
    assert noise_floor_sentence(None) == ""
    assert not repeated(out)  # nobody asked, and no GPU trained it
    watcher = Notes()
    results = run(plan, out, threads=1, engine=engine, noise_floor=True, watcher=watcher)
    assert "noise floor: training dice, fold 0, seed 1 again" in watcher.notes
    assert [trial.key for trial in results.trials] == [trial.key for trial in without.trials]
    floor = measure_noise_floor(results, "dice")
    assert floor is not None
    assert (floor.loss, floor.fold, floor.seed, floor.differing) == ("dice", 0, 1, ())
    assert (floor.mean, floor.largest) == (0.0, 0.0)
    assert [loss for loss, _ in floor.losses] == ["hytver"]
    assert "both scored the same" in noise_floor_sentence(floor)
    (again,) = repeated(out)
    first = out / "trials" / again.name
    for name in ("scores.csv", "model.safetensors", "trial.toml"):
        assert (again / name).read_bytes() == (first / name).read_bytes()
    assert not list((out / "locks").iterdir())
    assert not (out / "checkpoints").exists()
    (verification,) = verify_run(out)
    assert verification.findings == ()
    assert verification.trials == len(results.trials) + 1
    before = (again / "manifest.json").stat().st_mtime_ns
    run(plan, out, threads=1, engine=engine, noise_floor=True)
    assert (again / "manifest.json").stat().st_mtime_ns == before


@pytest.fixture
def noisy_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training runs on a device that is called a GPU and never gives the same weights twice."""
    noise = torch.Generator().manual_seed(1)

    def train_noisily(*of: Any, **more: Any) -> Sequence[TrainingResult | Exception]:
        results = train_together(*of, **more)
        for result in results:
            assert isinstance(result, TrainingResult)
            with torch.no_grad():
                for parameter in result.network.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=noise), alpha=0.3)
        return results

    def name_gpu(folder: Path, *of: Any, **more: Any) -> None:
        write_machine(folder, *of, **more)
        path = folder / "machine.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"device": FAKE}))

    monkeypatch.setattr(run_trial, "train_together", train_noisily)
    monkeypatch.setattr(run_trial, "write_machine", name_gpu)


def by_case(folder: Path) -> "pd.Series[float]":
    table = pd.read_csv(folder / "scores.csv")
    found: pd.Series[float] = table[table["metric"] == "brier"].set_index("case")["value"]
    return found


def compared(out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["lesionloss", "compare", str(out), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_on_a_gpu_the_report_says_how_far_equal_training_runs_differ(
    data: Path, tmp_path: Path, noisy_gpu: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tiny_plan(data, metrics=["brier"], primary_metric="brier", folds=2)
    out = tmp_path / "run"
    results = run(plan, out, threads=1)
    (again,) = repeated(out)
    ours, theirs = by_case(out / "trials" / again.name), by_case(again)
    floor = measure_noise_floor(results, "brier")
    assert floor is not None
    assert floor.mean == pytest.approx(abs((theirs - ours).mean()))
    assert floor.largest == pytest.approx((theirs - ours).abs().max())
    assert floor.mean > 0
    other = next(trial for trial in results.trials if (trial.loss, trial.fold) == ("hytver", 0))
    assert dict(floor.losses) == {"hytver": pytest.approx(abs((by_case(other.folder) - ours).mean()))}
    record = json.loads(compared(out, monkeypatch, capsys, "--json"))["noise_floor"]
    assert (record["mean"], record["largest"]) == (floor.mean, floor.largest)
    assert record["sentence"] == noise_floor_sentence(floor)
    assert record["sentence"].startswith("Noise floor: dice was trained twice (fold 0, seed 1); ")
    assert "Noise floor: dice was trained twice" in compared(out, monkeypatch, capsys)
    content = collect_content(results, "none")
    assert noise_floor_sentence(floor) in content.notes
    assert noise_floor_record(content.noise_floor) == noise_floor_record(floor)
    assert compare(results, "brier") == compare(replaced(results), "brier")  # it is no part of the comparison


def replaced(results: Results) -> Results:
    return replace(load(results.folder), repeated=())


def test_on_a_gpu_nobody_has_to_measure(data: Path, tmp_path: Path, noisy_gpu: None) -> None:
    run(tiny_plan(data, metrics=["brier"], primary_metric="brier"), tmp_path / "run", threads=1, noise_floor=False)
    assert not repeated(tmp_path / "run")


def test_a_sentence_names_losses_below_the_floor_and_other_machines() -> None:
    losses = (("a", 0.01), ("b", 0.03))
    floor = NoiseFloor("dice", "c d", 0, 1, patients=1, mean=0.02, largest=0.05, losses=losses, differing=("device",))
    assert noise_floor_sentence(floor) == (
        "Noise floor: “c d” was trained twice (fold 0, seed 1); Dice differs by .0200 over 1 patient, by .0500 at most "
        "in a case. Other losses differ from it by .0100 to .0300 there. That is no more than the noise floor for a. "
        "The two differ in device, too."
    )
    one = replace(floor, mean=0.0004, largest=0.0007, losses=(("a", 0.01),), differing=())
    assert noise_floor_sentence(one) == (
        "Noise floor: “c d” was trained twice (fold 0, seed 1); Dice differs by .00040 over 1 patient, by .00070 at "
        "most in a case. Other losses differ from it by .01000 there."
    )


def test_the_first_training_run_that_has_not_failed_is_repeated(tmp_path: Path) -> None:
    trials = tuple(replace(TRIAL, loss=loss) for loss in ("broken", "dice", "hytver"))
    context = RunContext(tmp_path, "cpu", "a call", noise_floor=True)
    asked: list[Any] = []
    cohort: Any = None
    engine: Any = SimpleNamespace(run_trials=lambda context, trial_list, *of: asked.append((context.place, trial_list)))
    trial_list = TrialList(trials, 1, 0)

    def try_it() -> None:
        train_noise_floor(engine, context, trial_list, cohort, SilentWatcher())

    try_it()
    assert asked == []  # none is finished yet
    write_failure(context.trials, trials[0].key, "", Failure("not finite", "nan", "a call"))
    try_it()
    assert asked == []  # another process may still train the next one
    (context.trials / trials[1].key).mkdir()
    try_it()
    ((place, of),) = asked
    assert (place, [trial.loss for trial in of.trials], of.threads) == ("noise_floor", ["dice"], 1)
    (tmp_path / "noise_floor" / trials[2].key).mkdir(parents=True)  # measured with another one
    try_it()
    assert len(asked) == 1
