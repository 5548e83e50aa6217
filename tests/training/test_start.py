"""Precision, gradient health and memory settings of the training loop."""

import math
import platform
from dataclasses import replace

import numpy as np
import pytest
import torch

from example_trials import RECIPE
from lesionloss.core.allocator import keep_freed_memory
from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import SlidingWindow, predict_probability
from lesionloss.networks import build_network
from lesionloss.training.forward import forward
from lesionloss.training.gradient_health import gradient_health
from lesionloss.training.schedules import learning_rate


def test_bf16_gives_float32_logits_near_those_of_float32() -> None:
    network = build_network("unet3d(filters=4, levels=2)", torch_generator("w")).eval()
    x = torch.randn(1, 3, 8, 8, 8, generator=torch_generator("x"))
    exact, rounded = forward(network, x, "float32"), forward(network, x, "bf16")
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert float((exact - rounded).detach().abs().max()) < 0.05 * float(exact.detach().abs().max())


class Echo(torch.nn.Module):
    """Gives back the follow-up as logits, so the probability map is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:2]


@pytest.mark.parametrize("shape", [(5, 8, 8), (8, 8, 8), (13, 8, 21)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_windows_put_every_voxel_back_where_it_was(shape: tuple[int, int, int], overlap: float) -> None:
    image = numpy_generator("image", *shape).normal(size=(3, *shape)).astype(np.float32)
    brain = np.ones(shape, bool)
    brain[0] = False
    case = PreparedCase(
        "a",
        "a",
        image,
        ("baseline", "followup", "difference"),
        np.zeros(shape, np.uint8),
        brain,
        np.eye(4),
        (0, 0, 0),
        shape,
    )
    found = predict_probability(Echo(), case, SlidingWindow((8, 8, 8), overlap), precision="float32", device="cpu")
    expected = np.where(brain, 1 / (1 + np.exp(-image[1])), 0)
    assert found.shape == shape
    assert np.abs(found - expected).max() < 1e-6


def test_health_tells_how_much_of_the_network_and_of_the_lesion_has_a_gradient() -> None:
    network = build_network("unet3d(filters=2, levels=2)", torch_generator("w"))
    x = torch.randn(1, 3, 8, 8, 8, generator=torch_generator("x"))
    reference = torch.zeros(1, 8, 8, 8)
    reference[0, :2, 0, 0] = 1

    def health_of(weights: torch.Tensor) -> tuple[float, float]:
        network.zero_grad(set_to_none=True)
        logits = forward(network, x, "float32")
        logits.retain_grad()
        (logits[:, 0] * weights).sum().backward()
        tensors, lesion_voxels = gradient_health(network, logits, reference).tolist()
        return tensors, lesion_voxels

    assert health_of(torch.ones(1, 8, 8, 8)) == (0.0, 0.0)
    half = torch.ones(1, 8, 8, 8)
    half[0, 1, 0, 0] = 0
    assert health_of(half) == (0.0, 0.5)
    assert health_of(torch.zeros(1, 8, 8, 8)) == (1.0, 1.0)
    reference.zero_()
    assert math.isnan(health_of(torch.ones(1, 8, 8, 8))[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator setting is one of glibc")
def test_the_allocator_takes_the_setting_on_glibc() -> None:
    assert keep_freed_memory() is True


def test_the_learning_rate_falls_from_its_start_towards_zero() -> None:
    rates = [learning_rate(RECIPE, step) for step in range(1, RECIPE.steps + 1)]
    assert rates[0] == RECIPE.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < RECIPE.learning_rate
    constant = replace(RECIPE, poly_power=0.0)
    assert {learning_rate(constant, step) for step in range(1, RECIPE.steps + 1)} == {RECIPE.learning_rate}
