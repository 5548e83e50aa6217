"""Stand-ins for mlflow 3.17 and wandb 0.31 with the signatures of what is called there; they keep what they get."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest


class MlflowClient:
    """The runs of all clients, by their database."""

    stores: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {}

    def __init__(self, tracking_uri: Any = None, registry_uri: Any = None, workspace_store_uri: Any = None) -> None:
        self.runs = self.stores.setdefault(tracking_uri, {})

    def get_experiment_by_name(self, name: str) -> Any:
        known = {run["experiment"] for run in self.runs.values()}
        return SimpleNamespace(experiment_id=name) if name in known else None

    def create_experiment(self, name: str, artifact_location: Any = None, tags: Any = None) -> str:
        return name

    def search_runs(
        self, experiment_ids: list[str], filter_string: str = "", run_view_type: int = 1, max_results: int = 1000,
        order_by: Any = None, page_token: Any = None,
    ) -> list[Any]:  # fmt: skip
        key = filter_string.removeprefix("tags.lesionloss_trial = '").removesuffix("'")
        found = [name for name, run in self.runs.items() if run["tags"]["lesionloss_trial"] == key]
        return [SimpleNamespace(info=SimpleNamespace(run_id=name)) for name in found]

    def delete_run(self, run_id: str) -> None:
        del self.runs[run_id]

    def create_run(self, experiment_id: str, start_time: Any = None, tags: Any = None, run_name: Any = None) -> Any:
        name = f"run{len(self.runs)}{run_name}"
        self.runs[name] = {"experiment": experiment_id, "tags": tags, "values": [], "ended": False}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_batch(
        self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = (), synchronous: Any = None
    ) -> None:
        assert len(metrics) <= 1000  # of one request
        self.runs[run_id]["values"] += metrics

    def set_terminated(self, run_id: str, status: Any = None, end_time: Any = None) -> None:
        self.runs[run_id]["ended"] = True


def metric(key: str, value: float, timestamp: int, step: int) -> tuple[str, int, float]:
    return key, step, value


class WandbRun:
    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked, self.ended = asked, False
        self.values: list[tuple[str, int, float]] = []

    def log(self, data: dict[str, Any], step: Any = None, commit: Any = None) -> None:
        self.values += [(name, step, value) for name, value in data.items()]

    def finish(self, exit_code: Any = None) -> None:
        self.ended = True


class Wandb(ModuleType):
    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: list[WandbRun] = []

    @staticmethod
    def Settings(
        *, silent: bool, console: str, disable_git: bool, disable_code: bool, x_disable_stats: bool,
        x_disable_meta: bool, x_disable_machine_info: bool,
    ) -> dict[str, Any]:  # fmt: skip
        return dict(locals())

    def init(
        self, entity: Any = None, project: Any = None, dir: Any = None, id: Any = None, name: Any = None,
        notes: Any = None, tags: Any = None, config: Any = None, mode: Any = None, reinit: Any = None,
        resume: Any = None, settings: Any = None,
    ) -> WandbRun:  # fmt: skip
        asked = {name: value for name, value in locals().items() if name != "self"}
        self.runs.append(WandbRun(asked))
        return self.runs[-1]


def pretend_installed(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, dict[str, dict[str, Any]]], Wandb]:
    """Let mlflow and wandb be imported from here; returns the databases of the one, and the other."""
    mlflow, entities, wandb = ModuleType("mlflow"), ModuleType("mlflow.entities"), Wandb()
    monkeypatch.setattr(MlflowClient, "stores", {})
    vars(mlflow).update(MlflowClient=MlflowClient)
    vars(entities).update(Metric=metric)
    for module in (mlflow, entities, wandb):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_ERROR_REPORTING", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    return MlflowClient.stores, wandb
