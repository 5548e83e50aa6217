"""A cluster is given work from a node without a GPU; its own nodes look their devices up."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lesionloss.bench import execute_trial
from lesionloss.bench.bookkeeping.trial_list import read_trial_list
from lesionloss.bench.engines import ray as ray_engine
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.engines.ray import RayEngine
from lesionloss.bench.engines.slurm import SlurmEngine, SlurmWorker
from lesionloss.bench.execute_trial import execute_together
from lesionloss.bench.plan import Plan
from lesionloss.bench.pretrained_starts import pretrain_start
from lesionloss.bench.run import run
from lesionloss.bench.run_context import RunContext
from lesionloss.bench.watcher import Watcher
from lesionloss.cli import main
from lesionloss.core.errors import UsageError
from lesionloss.training.pretraining import start_of
from lesionloss.training.trial import Trial
from tiny_runs import tiny_plan


class Submitted(Exception):
    pass


def submitted(*of: object, **more: object) -> None:
    raise Submitted


def write_plan(data: Path, folder: Path) -> Path:
    plan = tiny_plan(data, training={"steps": 3, "batch": 2, "patch": [8, 8, 8], "jitter": 2, "precision": "auto"})
    path = folder / "plan.toml"
    path.write_text(plan.to_toml())
    return path


@pytest.mark.parametrize("engine", ["slurm", "ray"])
def test_a_login_node_without_a_gpu_comes_to_the_submission(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = SimpleNamespace(update_parameters=lambda **settings: None, map_array=submitted)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=lambda *of, **more: executor))
    monkeypatch.setattr(ray_engine, "connect", submitted)
    options = {"slurm": ["--slurm", "gpus_per_node=1"], "ray": ["--gpus-per-trial", "0.5", "--address", "auto"]}
    out = tmp_path / "run"
    command = ["lesionloss", "bench", str(write_plan(data, tmp_path)), "--out", str(out), "--engine", engine]
    monkeypatch.setattr(sys, "argv", [*command, *options[engine]])
    with pytest.raises(Submitted):
        main()
    assert {trial.recipe.precision for trial in read_trial_list(out).trials} == {"float32"}
    assert "the device of the node that runs a trial: float32" in capsys.readouterr().err


def test_networks_are_pretrained_where_they_are_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain = "synth(patients=2, spacing_mm=3.0, steps=2)"
    training = {"steps": 2, "batch": 2, "patch": [8, 8, 8], "jitter": 2, "precision": "float32", "pretrain": pretrain}
    out, plan = tmp_path / "run", tiny_plan(data, training=training)
    monkeypatch.setattr(SlurmEngine, "_executor", submitted)
    with pytest.raises(Submitted):
        run(plan, out, engine=SlurmEngine())
    assert len(list((out / "pretrained" / "cohort").glob("*.npz"))) == 2  # made where `bench` is called
    assert not list((out / "pretrained").glob("*/model.safetensors"))
    devices: list[str] = []

    def seen(plan: Plan, trial: Trial, folder: Path, device: str, watcher: Watcher) -> None:
        devices.append(device)
        pretrain_start(plan, trial, folder, "cpu", watcher)

    def train_here(*of: object, **more: object) -> list[Exception]:
        return [ValueError("enough")]

    monkeypatch.setattr(execute_trial, "pretrain_start", seen)
    monkeypatch.setattr(execute_trial, "train_networks", train_here)
    monkeypatch.setattr(execute_trial, "resolve_device", lambda name: {"auto": "cuda:3"}[name])  # of the node
    monkeypatch.setattr(execute_trial, "step_mode_of", lambda *of: "eager")
    trials = [trial for trial in read_trial_list(out).trials if trial.method == "network"]
    for trial in trials[:2]:
        execute_together(RunContext(out, "auto", "call"), [trial.key])
    assert devices == ["cuda:3", "cuda:3"]
    (start,) = (out / "pretrained").glob("*/model.safetensors")
    assert not list((out / "pretrained").glob("*.lock"))
    assert start_of(trials[0], out / "trials" / "k.partial") == start


def test_a_wrong_device_is_refused_before_anything_is_submitted(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be auto, cpu or cuda:N"):
        run(tiny_plan(data), tmp_path / "run", engine=SlurmEngine(), device="gpu")
    assert not (tmp_path / "run").exists()


def test_a_worker_of_slurm_gives_its_trials_every_gpu_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("lesionloss.bench.engines.slurm.read_trial_list", lambda folder: None)
    monkeypatch.setattr("lesionloss.bench.engines.slurm.read_run_cohort", lambda folder: None)
    monkeypatch.setattr("signal.signal", lambda *of: None)
    monkeypatch.setattr(
        "lesionloss.bench.engines.slurm.train_noise_floor", lambda engine, context, *of: seen.append(engine.devices)
    )
    monkeypatch.setattr(LocalEngine, "run_trials", lambda engine, context, *of: seen.extend([engine, context.device]))
    devices = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    SlurmWorker(RunContext(Path(), "auto", "call"), 4)(0)
    assert seen == [LocalEngine(4, devices), "cuda:0", devices]
    seen.clear()
    SlurmWorker(RunContext(Path(), "auto", "call"), None)(0)
    assert seen == [LocalEngine(None, devices), "cuda:0", devices]  # as many as their memory holds
    seen.clear()
    SlurmWorker(RunContext(Path(), "cpu", "call"), None)(0)
    assert seen == [LocalEngine(1, ("cpu",)), "cpu", ("cpu",)]


@pytest.mark.parametrize(
    ("cluster", "device", "share", "given"),
    [(4, "auto", 0, 1), (4, "cpu", 0, 0), (0, "auto", 0, 0), (4, "auto", 0.5, 0.5)],
)
def test_ray_gives_a_trial_a_gpu_of_its_own_where_it_has_some(
    monkeypatch: pytest.MonkeyPatch, cluster: int, device: str, share: float, given: float
) -> None:
    class Task:
        def options(self, **settings: object) -> None:
            assert settings["num_gpus"] == given
            raise Submitted

    fake = SimpleNamespace(cluster_resources=lambda: {"GPU": cluster}, remote=lambda function: Task())
    monkeypatch.setattr(ray_engine, "connect", lambda address: fake)
    monkeypatch.setattr(ray_engine, "memory_need", lambda *of: SimpleNamespace(total=1, network_bytes=1))
    monkeypatch.setattr(ray_engine, "together_in_words", lambda *of: "")
    monkeypatch.setattr(ray_engine, "StatusFollower", lambda *of: None)
    trials, watcher = SimpleNamespace(threads=1, trials=(), losses=1), SimpleNamespace(note=lambda text: None)
    with pytest.raises(Submitted):
        RayEngine(gpus=share).run_trials(RunContext(Path(), device, "call"), trials, None, watcher)
