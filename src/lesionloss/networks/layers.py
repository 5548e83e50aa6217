"""Layers that several networks share."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lesionloss.core.devices import to_device
from lesionloss.core.errors import UsageError


class ChannelDropout(nn.Module):
    """Drops whole channels with probability `p` in training, drawing from a generator of its own.

    The trial sets `generator`; two losses of a pair then drop the same channels at the same step.
    """

    def __init__(self, p: float) -> None:
        """Make a layer with drop probability `p`."""
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None
        self.draw: Callable[[ChannelDropout, Tensor], Tensor] = draw_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, *space) with some channels set to 0 in training."""
        if not self.training or self.p == 0:
            return x
        return x * self.draw(self, x)


def draw_channels(layer: ChannelDropout, x: Tensor) -> Tensor:
    """Return the factors (B, C, 1, ...) of the channels of `x` in training: 0, or 1 / (1 - p)."""
    if layer.generator is None:
        raise RuntimeError("ChannelDropout needs a generator in training; see networks.seed_dropout")
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))
    keep = torch.empty(shape).bernoulli_(1 - layer.p, generator=layer.generator)
    return to_device((keep / (1 - layer.p)).to(x.dtype), x.device)


def doubled(inputs: int, outputs: int, *, linear: bool) -> nn.Module:
    """Return the layer that doubles the sides of (B, inputs, X, Y, Z) and gives `outputs` channels.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        linear: A convolution of 1³ and linear interpolation (in this order, which gives the same as the reverse and
            takes an eighth of the time). Otherwise a transposed convolution of 2³ and stride 2, whose eight weights
            differ, so that neighbours differ where the image is even: a checkerboard (Odena 2016).
    """
    if linear:
        return nn.Sequential(nn.Conv3d(inputs, outputs, 1), nn.Upsample(scale_factor=2, mode="trilinear"))
    return nn.ConvTranspose3d(inputs, outputs, 2, stride=2)


class Layers(NamedTuple):
    """The layer classes for images with two or three axes of space."""

    convolution: Callable[..., nn.Module]
    up: Callable[..., nn.Module]
    batch_norm: Callable[..., nn.Module]
    max_pool: Callable[..., nn.Module]


_LAYERS = {
    2: Layers(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.MaxPool2d),
    3: Layers(nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.MaxPool3d),
}


def layers_for(axes: int) -> Layers:
    """Return the layer classes for `axes` axes of space.

    Raises:
        UsageError: Other numbers than 2 and 3.
    """
    if axes not in _LAYERS:
        raise UsageError(f"axes must be 2 or 3, got {axes}")
    return _LAYERS[axes]
