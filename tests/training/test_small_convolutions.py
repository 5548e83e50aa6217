"""Gradients of small convolutions in bf16 are right, whatever was in memory before."""

import itertools

import pytest
import torch
from torch import nn

from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.training.forward import outputs_of
from lesionloss.training.small_convolutions import SmallConvolutionsInFloat32


def leave_garbage() -> None:
    """Fill the memory that the next tensors get."""
    kept = [torch.full((size,), 1e30) for size in (2**16, 2**17, 2**18) for _ in range(4)]
    del kept


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1)])
def test_weight_gradients_are_those_of_float32(kernel: int, stride: int) -> None:
    """Without the mode, a processor with bf16 arithmetic gives garbage for some of these shapes."""
    generator = torch_generator("small", kernel, stride)
    for space in itertools.product((1, 2, 3, 4), (1, 2, 4), (1, 3)):
        convolution = channels_last(nn.Conv3d(16, 16, kernel, stride, padding=kernel // 2))
        leave_garbage()
        images = torch.randn(2, 16, *space, generator=generator)
        with torch.autocast("cpu", torch.bfloat16), SmallConvolutionsInFloat32():
            found = convolution(images).float()
        (gradient,) = torch.autograd.grad(found, [convolution.weight], torch.ones_like(found))
        expected = convolution(images)
        (right,) = torch.autograd.grad(expected, [convolution.weight], torch.ones_like(expected))
        torch.testing.assert_close(gradient, right, rtol=0.05, atol=0.05 * float(right.abs().max()))


def test_a_network_with_small_levels_has_finite_gradients_in_bf16() -> None:
    text = "longitudinal_vnet(outputs=2, filters=4, dropout=0.1)"
    network = channels_last(build_network(text, torch_generator("weights"))).train()
    for step in range(8):
        network.zero_grad(set_to_none=True)
        seed_dropout(network, torch_generator("dropout", step))
        images = torch.randn(2, 3, 32, 32, 16, generator=torch_generator("images", step))
        leave_garbage()
        torch.autograd.backward(outputs_of(network, images, "bf16").logits.square().mean())
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        assert max(float(gradient.abs().max()) for gradient in gradients) < 1e3
