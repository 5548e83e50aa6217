"""U-Nets with two convolutions a level: that of the DSC++ paper, and the plain one of the TopK Dice paper."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from lesionloss.core.errors import UsageError
from lesionloss.networks.layers import layers_for
from lesionloss.networks.network_output import Outputs

KERAS_EPSILON = 1e-3  # of instance normalisation in tensorflow-addons, which the DSC++ paper's code uses

Stage = Callable[[int, int], nn.Module]


class UNetBody(nn.Module):
    """The encoder and decoder of a U-Net: max pooling down, transposed 2-convolutions up, skips concatenated."""

    def __init__(self, inputs: int, widths: list[int], axes: int, stage: Stage) -> None:
        """Build one stage for each of `widths` channels."""
        super().__init__()
        layers = layers_for(axes)
        self.down = nn.ModuleList(stage(a, b) for a, b in pairwise([inputs, *widths]))
        self.pool = layers.max_pool(2)
        self.up = nn.ModuleList(layers.up(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.join = nn.ModuleList(stage(2 * a, a) for a in widths[:-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the decoder's features of (B, C, *space), from fine to coarse; the last is the encoder's deepest."""
        skips: list[Tensor] = []
        for stage in self.down:
            if skips:
                x = self.pool(x)
            x = stage(x)
            skips.append(x)
        found = [x]
        for level in reversed(range(len(self.up))):
            x = self.join[level](torch.cat([self.up[level](x), skips[level]], dim=1))
            found.append(x)
        return found[::-1]


def _relu_then_instance_norm(inputs: int, outputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.InstanceNorm2d(outputs, eps=KERAS_EPSILON, affine=True))
    return nn.Sequential(*layers)


class UNet2d(nn.Module):
    """The 2-D U-Net of the DSC++ paper: convolution, ReLU, instance norm, twice a level; Xavier-uniform weights.

    Input (B, C, X, Y), output (B, outputs, X, Y); sides must be multiples of `multiple`.
    """

    axes = 2
    heads = ("head",)

    def __init__(self, *, inputs: int = 3, outputs: int = 1, filters: int = 32, levels: int = 5) -> None:
        """Build the network; `filters` is the width of the finest level, doubled at each of `levels`."""
        super().__init__()
        self.multiple = 2 ** (levels - 1)
        widths = [filters * 2**level for level in range(levels)]
        self.body = UNetBody(inputs, widths, 2, _relu_then_instance_norm)
        self.head = nn.Conv2d(filters, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, X, Y) of images (B, inputs, X, Y)."""
        logits: Tensor = self.head(self.body(x)[0])
        return logits


def batch_norm_then_relu(axes: int) -> Stage:
    """Return a stage of twice: convolution of 3 without bias, batch norm, ReLU."""
    layers = layers_for(axes)

    def stage(inputs: int, outputs: int) -> nn.Module:
        found: list[nn.Module] = []
        for width in (inputs, outputs):
            found.append(layers.convolution(width, outputs, 3, padding=1, bias=False))
            found += [layers.batch_norm(outputs), nn.ReLU(inplace=True)]
        return nn.Sequential(*found)

    return stage


class PlainUNet(nn.Module):
    """The plain U-Net of the TopK Dice paper: heads at full, half and a quarter of the resolution.

    Input (B, C, *space) with `axes` axes; sides must be multiples of `multiple`. Gives `Outputs`; in training `deep`
    holds the logits at 1/2 and 1/4.
    """

    heads = ("head", "deep_heads.0", "deep_heads.1")

    def __init__(self, *, inputs: int = 3, outputs: int = 1, filters: int = 64, levels: int = 5, axes: int = 2) -> None:
        """Build the network; `filters` is the width of the finest level, doubled at each of `levels`."""
        super().__init__()
        if levels < 3:
            raise UsageError(f"plain_unet: levels must be 3 or more, for its heads at 1/2 and 1/4; got {levels}")
        self.axes = axes
        self.multiple = 2 ** (levels - 1)
        widths = [filters * 2**level for level in range(levels)]
        layers = layers_for(axes)
        self.body = UNetBody(inputs, widths, axes, batch_norm_then_relu(axes))
        self.head = layers.convolution(widths[0], outputs, 1)
        self.deep_heads = nn.ModuleList(layers.convolution(width, outputs, 1) for width in widths[1:3])

    def forward(self, x: Tensor) -> Outputs:
        """Return the outputs for images (B, inputs, *space)."""
        fine, *coarser = self.body(x)
        pairs = zip(self.deep_heads, coarser, strict=False)
        deep = tuple(head(features) for head, features in pairs) if self.training else ()
        return Outputs(self.head(fine), deep)
