"""The V-Net of CoactSeg and HyTver with three heads: lesions of the baseline, of the follow-up, and new lesions."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lesionloss.networks.layers import ChannelDropout, doubled
from lesionloss.networks.network_output import Outputs

DEPTHS = (1, 2, 3, 3, 3)
RESIDUAL_SLOPE = 0.01  # HyTver's residual blocks end in a leaky ReLU whatever the activation elsewhere


def _activation(slope: float) -> nn.Module:
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def _convolutions(count: int, inputs: int, outputs: int, slope: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        width = inputs if index == 0 else outputs
        layers += [nn.Conv3d(width, outputs, 3, padding=1), nn.BatchNorm3d(outputs), _activation(slope)]
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Convolutions with batch norm; `residual` adds the input, through a 1³ convolution, before the last activation."""

    def __init__(self, count: int, inputs: int, outputs: int, slope: float, residual: bool) -> None:
        """Build a block of `count` convolutions."""
        super().__init__()
        convolutions = _convolutions(count, inputs, outputs, slope)
        self.convolutions = convolutions[:-1] if residual else convolutions
        self.shortcut = nn.Conv3d(inputs, outputs, 1) if residual else None
        self.activation = _activation(RESIDUAL_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, outputs, X, Y, Z)."""
        inner: Tensor = self.convolutions(x)
        if self.shortcut is None:
            return inner
        activated: Tensor = self.activation(inner + self.shortcut(x))
        return activated


def _resample(layer: nn.Module, width: int, slope: float) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm3d(width), _activation(slope))


class VisitEncoder(nn.Module):
    """Five levels of 1, 2, 3, 3, 3 convolutions, strided 2³ convolutions between them; features from fine to coarse."""

    def __init__(self, inputs: int, widths: list[int], dropout: float, slope: float, residual: bool) -> None:
        """Build five levels of `widths` channels."""
        super().__init__()
        firsts = [inputs, *widths[1:]]
        self.blocks = nn.ModuleList(
            Block(n, a, b, slope, residual) for n, a, b in zip(DEPTHS, firsts, widths, strict=True)
        )
        self.down = nn.ModuleList(_resample(nn.Conv3d(a, b, 2, stride=2), b, slope) for a, b in pairwise(widths))
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of all levels of (B, C, X, Y, Z), from fine to coarse."""
        features = [self.blocks[0](x)]
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            features.append(block(down(features[-1])))
        features[-1] = self.dropout(features[-1])
        return features


class Decoder(nn.Module):
    """Levels of twice the resolution with additive skips; at full resolution one branch per visit and one for both.

    The new-lesion head reads the difference of the visits' branches, the baseline's branch and the third one.
    """

    def __init__(
        self,
        outputs: int,
        widths: list[int],
        dropout: float,
        slope: float,
        inner: float,
        residual: bool,
        deep: bool,
        linear_up: bool,
    ) -> None:
        """Build the decoder of `widths` channels; `inner` is the slope of the inner blocks."""
        super().__init__()
        self.deep_skip = deep
        filters = widths[0]
        self.up = nn.ModuleList(_resample(doubled(b, a, linear=linear_up), a, slope) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(
            Block(n, a, a, inner, residual) for n, a in zip(DEPTHS[1:4], widths[1:4], strict=True)
        )
        self.baseline, self.followup, self.both = (Block(1, filters, filters, slope, residual) for _ in range(3))
        self.new = Block(1, 3 * filters, filters, slope, residual)
        self.head_baseline, self.head_followup, self.head_new = (nn.Conv3d(filters, outputs, 1) for _ in range(3))
        self.dropout = ChannelDropout(dropout)

    def forward(self, features: list[Tensor]) -> Outputs:
        """Return the outputs; removes the features from their list, so that used ones are freed."""
        deepest, fourth = features.pop(), features.pop()
        x = self.up[3](deepest) + fourth
        for level in (2, 1, 0):
            x = self.up[level](self.blocks[level](x)) + features.pop()
            if level == 2 and self.deep_skip:
                x = x + self.up[2](fourth)
        baseline, followup, both = (self.dropout(branch(x)) for branch in (self.baseline, self.followup, self.both))
        del x
        joined = torch.cat([followup - baseline, baseline, both], dim=1)
        del both
        new = self.new(joined)
        return Outputs(self.head_new(new), (), self.head_baseline(baseline), self.head_followup(followup))


class LongitudinalVNet(nn.Module):
    """V-Net with three heads for baseline, follow-up and difference (B, C, X, Y, Z); sides are multiples of 16.

    It gives `Outputs`: `logits` of new lesions, and those of `baseline` and `followup`.
    """

    multiple = 16
    axes = 3
    heads = ("decoder.head_new", "decoder.head_baseline", "decoder.head_followup")

    def __init__(
        self,
        *,
        inputs: int = 3,
        outputs: int = 1,
        filters: int = 16,
        dropout: float = 0.5,
        leaky: float = 0.0,
        inner_relu: bool = False,
        residual: bool = False,
        deep_skip: bool = False,
        linear_up: bool = False,
    ) -> None:
        """Build the network.

        Args:
            inputs: Channels of the image.
            outputs: Maps of logits of each head.
            filters: Width of the finest level.
            dropout: Probability of dropping a channel.
            leaky: Slope of the activations for negative values; 0: ReLU (CoactSeg), HyTver has 0.01.
            inner_relu: ReLU in the decoder's inner blocks whatever `leaky` is, as in HyTver's released code.
            residual: A 1³ convolution around each block, HyTver's variant (off in its released script).
            deep_skip: The encoder's fourth level also goes up to the third, as in HyTver's released code.
            linear_up: Linear interpolation instead of transposed convolutions, which leave checkerboards.
        """
        super().__init__()
        widths = [filters * 2**level for level in range(5)]
        inner = 0.0 if inner_relu else leaky
        self.encoder = VisitEncoder(inputs, widths, dropout, leaky, residual)
        self.decoder = Decoder(outputs, widths, dropout, leaky, inner, residual, deep_skip, linear_up)

    def forward(self, x: Tensor) -> Outputs:
        """Return the outputs for images (B, inputs, X, Y, Z)."""
        outputs: Outputs = self.decoder(self.encoder(x))
        return outputs
