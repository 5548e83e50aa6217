"""Engines of many machines, tried on one: a Ray cluster of two nodes, and submitit's processes in place of Slurm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine_runs import assert_same, assert_tidy, long_plan, plan_of
from lesionloss import UsageError
from lesionloss.bench.engines.ray import connect
from lesionloss.bench.engines.slurm import SlurmEngine, parse_setting
from lesionloss.bench.run import run


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
    assert any(len(pids) > 1 for pids in record["seen"].values())  # a trial continued in another process
    run(long_plan(data), tmp_path / "whole", threads=1)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert_tidy(tmp_path / "run")


@pytest.mark.slow
def test_an_array_of_workers_gives_the_bits_of_one_process(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    results = run(plan_of(data), tmp_path / "run", engine=SlurmEngine(workers=2, cluster="local"), threads=1)
    assert not results.failed
    assert len(list((tmp_path / "run" / "slurm").glob("*_submitted.pkl"))) == 2
    run(plan_of(data), tmp_path / "whole", threads=1)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert_tidy(tmp_path / "run")


def test_a_missing_cluster_is_explained_in_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'lesionloss\[ray\]'"):
        connect(None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'lesionloss\[slurm\]'"):
        run(plan_of(data), tmp_path / "run", engine=SlurmEngine())


def test_settings_of_slurm_are_keys_and_values() -> None:
    assert parse_setting("partition=gpu") == ("partition", "gpu")
    assert parse_setting("cpus-per-task = 4") == ("cpus_per_task", 4)
    with pytest.raises(UsageError, match="--slurm needs KEY=VALUE"):
        parse_setting("partition")
