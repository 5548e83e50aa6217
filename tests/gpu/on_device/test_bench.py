"""A whole run on a GPU, and the forecast of one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lesionloss.bench.forecast import forecast
from lesionloss.bench.run import run
from lesionloss.statistics import measure_noise_floor
from tiny_runs import network_folder, tiny_plan


@pytest.mark.slow
def test_a_run_says_how_the_gpu_computed(gpu: Any, data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data, training={"steps": 3, "batch": 2, "patch": [16, 16, 16], "jitter": 2, "precision": "auto"})
    results = run(plan, tmp_path / "run", device=gpu.name)
    assert not results.failed
    machine = json.loads((network_folder(tmp_path / "run") / "machine.json").read_text())
    assert machine["device"] == torch.cuda.get_device_name(gpu.name)
    assert machine["cohort_on_device"].startswith("yes, ")
    assert machine["arithmetic"] == {
        "deterministic": False,
        "step": "eager",
        "tf32_convolutions": True,
        "cudnn_benchmark": True,
        "fused_optimiser": True,
    }
    floor = measure_noise_floor(results, "dice")  # nobody asked for it: on a GPU it is measured
    assert floor is not None
    assert floor.differing == ()
    assert floor.largest == 0 or os.environ["LESIONLOSS_TEST_GPU"] == "real"


@pytest.mark.slow
def test_a_forecast_counts_every_gpu(gpu: Any, data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data)
    run(plan, tmp_path / "run", device="cpu")
    found = forecast(plan, tmp_path / "run", "auto", None, 1)
    assert found.gpus == torch.cuda.device_count()
    assert found.jobs >= found.gpus
