"""Engines of many machines, tried on one: a Ray cluster of two nodes, and submitit's processes in place of Slurm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine_runs import assert_same, assert_tidy, long_plan, plan_of
from lesionloss import UsageError
from lesionloss.bench.engines.ray import connected
from lesionloss.bench.engines.slurm import Slurm, setting
from lesionloss.bench.run import run
from make_cohort import write_cohort


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data"))


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_gives_the_bits_of_one_process(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    script = Path(__file__).parents[1] / "support" / "ray_cluster.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run([sys.executable, str(script), str(data), str(tmp_path)], check=True, env=environment)
    record = json.loads((tmp_path / "ray.json").read_text())
    assert record["failed"] == []
    assert record["alive"] == 2  # the head and one of two nodes
    assert record["killed"]
    assert any(len(pids) > 1 for pids in record["seen"].values())  # a trial went on in another process
    run(long_plan(data), tmp_path / "whole", threads=1)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert_tidy(tmp_path / "run")


@pytest.mark.slow
def test_an_array_of_workers_gives_the_bits_of_one_process(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    results = run(plan_of(data), tmp_path / "run", engine=Slurm(workers=2, cluster="local"), threads=1)
    assert not results.failed
    assert len(list((tmp_path / "run" / "slurm").glob("*_submitted.pkl"))) == 2
    run(plan_of(data), tmp_path / "whole", threads=1)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert_tidy(tmp_path / "run")


def test_no_cluster_costs_one_line(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'lesionloss\[ray\]'"):
        connected(None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'lesionloss\[slurm\]'"):
        run(plan_of(data), tmp_path / "run", engine=Slurm())


def test_settings_of_slurm_are_keys_and_values() -> None:
    assert setting("partition=gpu") == ("partition", "gpu")
    assert setting("cpus-per-task = 4") == ("cpus_per_task", 4)
    with pytest.raises(UsageError, match="--slurm needs KEY=VALUE"):
        setting("partition")
