"""Nothing needs a GPU, nothing depends on the default device, and nothing loads code from data files."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lesionloss
from example_trials import TRIAL
from lesionloss import UsageError
from lesionloss.core.devices import resolve_device
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import InferenceMode, SlidingWindow, WholeImage, predict_probabilities
from lesionloss.networks import build_network
from lesionloss.training.loop import train, weights_hash

SOURCES = sorted(Path(lesionloss.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    "network", ["vnet(filters=2)", "monai:UNet(spatial_dims=3, channels=(4, 8), strides=(2,), dropout=0.1)"]
)
def test_the_default_device_changes_nothing(network: str, cases: list[PreparedCase]) -> None:
    """Tensors on the meta device have no values: whatever was created there would be lost."""
    trial = replace(TRIAL, network=network, loss="dice_ce")
    modes: list[InferenceMode] = [WholeImage(), SlidingWindow((16,))]
    plain = train(trial, cases)
    with torch.device("meta"):
        other = train(trial, cases)
        found = [predict_probabilities(other.network, cases[0], mode) for mode in modes]
        built = build_network(network, torch_generator("w"))
    assert weights_hash(other.network) == weights_hash(plain.network)
    assert other.history[-1].loss == plain.history[-1].loss
    assert weights_hash(built) == weights_hash(build_network(network, torch_generator("w")))
    for mode, probabilities in zip(modes, found, strict=True):
        assert (probabilities == predict_probabilities(plain.network, cases[0], mode)).all()


def test_devices_by_name() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="must be auto, cpu or cuda:N, got 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(UsageError, match=rf"this machine has {torch.cuda.device_count()} GPUs"):
        resolve_device("cuda:99")


@pytest.mark.parametrize(
    "phrase", [r"\.cuda\(", "set_default_device", r"weights_only\s*=\s*False", r"allow_pickle\s*=\s*True"]
)
def test_no_source_contains(phrase: str) -> None:
    assert len(SOURCES) > 100
    assert [path.name for path in SOURCES if re.search(phrase, path.read_text(encoding="utf-8"))] == []
