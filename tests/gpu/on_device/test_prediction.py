"""Prediction on a GPU: the maps of the CPU, and nothing leaves the device before they are finished."""

from typing import Any

import numpy as np
import pytest
import torch

from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import (
    Arithmetic,
    InferenceMode,
    SlidingWindow,
    WholeImage,
    predict_logits,
    predict_probabilities,
)
from lesionloss.networks import build_network
from named_reads import NAMED_READS

MODES = {
    "window": SlidingWindow((32,), overlap=0.25),
    "whole": WholeImage(),
    "probabilities": SlidingWindow((32,), of_probabilities=True, gaussian=False),
}
NETWORKS = ("unet3d(filters=2, levels=2, group=2)", "unet2d(filters=2)")


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("network", NETWORKS)
def test_maps_are_those_of_the_cpu(gpu: Any, cases: list[PreparedCase], network: str, mode: InferenceMode) -> None:
    built = build_network(network, torch_generator("weights"))
    arithmetic = Arithmetic(stitched=torch.float32, together=True)
    expected = predict_probabilities(built, cases[0], mode, mirrored=(0,), arithmetic=arithmetic)
    built.to(gpu.name)
    with gpu.log() as log:
        found = predict_probabilities(built, cases[0], mode, mirrored=(0,), arithmetic=arithmetic, device=gpu.name)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert log.unnamed(NAMED_READS) == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_logits_stay_on_the_device(gpu: Any, cases: list[PreparedCase], precision: str) -> None:
    built = build_network(NETWORKS[0], torch_generator("weights")).to(gpu.name)
    image = torch.from_numpy(cases[0].image).to(gpu.name)
    logits = predict_logits(built, image, MODES["window"], arithmetic=Arithmetic(precision))
    assert str(logits.device) == gpu.name
