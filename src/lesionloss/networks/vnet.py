"""The V-Net of CoactSeg and HyTver with one head; its channels are baseline, follow-up and difference."""

from itertools import pairwise

from torch import Tensor, nn

from lesionloss.networks.layers import ChannelDropout, doubled


def _convolutions(count: int, inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        width = inputs if index == 0 else outputs
        layers += [nn.Conv3d(width, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 2, stride=2), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))


def _up(inputs: int, outputs: int, linear: bool) -> nn.Sequential:
    layer = doubled(inputs, outputs, linear=linear)
    return nn.Sequential(layer, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))


class VNet(nn.Module):
    """Five levels of 1, 2, 3, 3, 3 convolutions; strided convolutions down, transposed up, additive skips, batch norm.

    The paper's width is `filters=16`. Input (B, C, X, Y, Z), output (B, outputs, X, Y, Z); each axis of space must be
    a multiple of 16.
    """

    multiple = 16
    axes = 3
    heads = ("head",)

    def __init__(
        self, *, inputs: int = 3, outputs: int = 1, filters: int = 16, dropout: float = 0.5, linear_up: bool = False
    ) -> None:
        """Build the network; `filters` is the width of the finest level, doubled at each of five.

        `linear_up` interpolates linearly instead of by transposed convolutions, which leave checkerboards.
        """
        super().__init__()
        widths = [filters * 2**level for level in range(5)]
        depths = [1, 2, 3, 3, 3]
        firsts = [inputs, *widths[1:]]
        self.encoder = nn.ModuleList(_convolutions(n, a, b) for n, a, b in zip(depths, firsts, widths, strict=True))
        self.down = nn.ModuleList(_down(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_up(b, a, linear_up) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(_convolutions(n, a, a) for n, a in zip(depths[:4], widths[:4], strict=True))
        self.deep_dropout = ChannelDropout(dropout)
        self.last_dropout = ChannelDropout(dropout)
        self.head = nn.Conv3d(filters, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, X, Y, Z) of images (B, inputs, X, Y, Z)."""
        skips = [self.encoder[0](x)]
        for down, block in zip(self.down, list(self.encoder)[1:], strict=True):
            skips.append(block(down(skips[-1])))
        x = self.deep_dropout(skips.pop())
        for level in (3, 2, 1, 0):
            x = self.decoder[level](self.up[level](x) + skips.pop())
        logits: Tensor = self.head(self.last_dropout(x))
        return logits
