"""`make model`: the training of the shipped model repeats its bits, and its bundle is one that predicts."""

import subprocess
import sys
from pathlib import Path

import pytest

from lesionloss.networks.bundle import load_bundle
from linked_venv import ROOT

SMALL = ["--patients", "1", "--valid", "1", "--steps", "2", "--change", "spacing_mm=3.0"]


@pytest.mark.slow
def test_training_the_model_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        command = [sys.executable, str(ROOT / "benchmarks" / "transfer.py"), "--out", str(tmp_path / name), *SMALL]
        subprocess.run(command, check=True, capture_output=True)
    for name in ("model.safetensors", "model.json", "cases/s0001.npz"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    record = load_bundle(tmp_path / "first").record
    assert (record.depth_mm, record.channels) == (5.0, ("baseline", "followup", "difference"))
    assert "match" in record.preparation["steps"]
