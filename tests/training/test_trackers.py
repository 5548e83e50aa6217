"""Curves in MLflow and Weights & Biases: every number, on this machine, and never a reason for training to stop."""

import os
from pathlib import Path
from typing import Any

import pytest

from lesionloss.core.errors import UsageError
from lesionloss.core.extras import MissingExtraError
from lesionloss.training.state import Step
from lesionloss.training.trackers import TrackedRun, check_tracker, tracked
from tracker_fakes import MlflowClient, pretend_installed

NAN = float("nan")


def run_in(folder: Path, key: str = "0123456789abcdef") -> TrackedRun:
    return TrackedRun(folder, "my plan: a/b", "dice, fold 0, seed 1", key, {"loss": "dice", "fold": 0, "seed": 1})


def steps(count: int) -> list[Step]:
    return [Step(number, 1 / number, 0.1, 0.5 * number, 0.0, NAN, 2.0) for number in range(1, count + 1)]


def expected(count: int) -> set[tuple[str, int, float]]:
    names = ("loss", "learning_rate", "zero_gradient_tensors", "gradient_norm")
    return {(name, step.step, getattr(step, name)) for step in steps(count) for name in names}


def test_mlflow_gets_every_number_once_in_the_runs_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores, _ = pretend_installed(monkeypatch)
    for _ in range(2):  # the second continues from a checkpoint, and logs the steps before it again
        with tracked("mlflow", run_in(tmp_path), pytest.fail) as log:
            for step in steps(400):
                log(step)
        (address,) = stores
        assert address == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
        (run,) = stores[address].values()
        assert set(run["values"]) == expected(400)
        assert len(run["values"]) == len(expected(400))
        assert run["ended"]
    assert run["tags"] == {"lesionloss_trial": "0123456789abcdef", "loss": "dice", "fold": "0", "seed": "1"}
    assert run["experiment"] == "my plan: a/b"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    with tracked("mlflow", run_in(tmp_path, "f" * 16), pytest.fail):
        pass
    assert len(stores[address]) == 2


def test_a_server_of_the_users_is_used_and_nothing_is_deleted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, _ = pretend_installed(monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    for _ in range(2):
        with tracked("mlflow", run_in(tmp_path), pytest.fail):
            pass
    assert {address: len(runs) for address, runs in stores.items()} == {"http://localhost:5000": 2}
    assert list(tmp_path.iterdir()) == []


def test_wandb_is_offline_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, wandb = pretend_installed(monkeypatch)
    for key in ("a" * 16, "b" * 16, "a" * 16):
        (tmp_path / "wandb" / key).mkdir(parents=True, exist_ok=True)
        (tmp_path / "wandb" / key / "of an earlier attempt").touch()
        with tracked("wandb", run_in(tmp_path, key), pytest.fail) as log:
            for step in steps(5):
                log(step)
        run = wandb.runs[-1]
        assert set(run.values) == expected(5)
        assert run.ended
        assert run.asked["dir"] == str(tmp_path / "wandb" / key)
        assert list((tmp_path / "wandb" / key).iterdir()) == []
    assert (os.environ["WANDB_MODE"], os.environ["WANDB_ERROR_REPORTING"]) == ("offline", "false")
    assert (run.asked["project"], run.asked["resume"], run.asked["reinit"]) == ("my plan- a-b", None, "create_new")
    assert len({run.asked["id"] for run in wandb.runs}) == 2
    assert all(run.asked["settings"][f"x_disable_{what}"] for what in ("stats", "meta", "machine_info"))
    monkeypatch.setenv("WANDB_MODE", "online")
    with tracked("wandb", run_in(tmp_path), pytest.fail):
        pass
    assert (os.environ["WANDB_MODE"], wandb.runs[-1].asked["resume"]) == ("online", "allow")


@pytest.mark.parametrize("fails", ["__init__", "log_batch", "set_terminated"])
def test_a_tracker_that_fails_is_left_out_and_training_goes_on(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_installed(monkeypatch)

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no server answers")

    monkeypatch.setattr(MlflowClient, fails, refuse)
    notes: list[str] = []
    with tracked("mlflow", run_in(tmp_path), notes.append) as log:
        for step in steps(400):
            log(step)
    assert notes == ["mlflow shows no more of dice, fold 0, seed 1: ConnectionError: no server answers"]


def test_an_unknown_tracker_or_one_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tracker("")
    with pytest.raises(UsageError, match="--track: no 'mlfow'; did you mean 'mlflow'"):
        check_tracker("mlfow")
    monkeypatch.setattr("lesionloss.core.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'--track wandb needs wandb, .* pip install "lesionloss\[wandb\]"'):
        check_tracker("wandb")
