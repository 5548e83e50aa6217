"""The 3-D U-Net of Cabezas & Diez 2024: one convolution per level, group norm, nearest upsampling."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Level(nn.Module):
    """Convolution 3³, ReLU, group normalisation with `group` channels a group."""

    def __init__(self, inputs: int, outputs: int, group: int) -> None:
        """Build the level."""
        super().__init__()
        self.convolution = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(max(1, outputs // group), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, outputs, X, Y, Z)."""
        normed: Tensor = self.norm(functional.relu(self.convolution(x)))
        return normed


class UNet3d(nn.Module):
    """3-D U-Net, `filters` doubled at each of `levels` levels; max pooling, nearest upsampling, concatenation.

    With 2 input channels and the paper's 32-64-128-256 filters it has 2,906,913 parameters. Input (B, C, X, Y, Z),
    output (B, outputs, X, Y, Z); each axis of space must be a multiple of `multiple`.
    """

    axes = 3
    heads = ("head",)

    def __init__(
        self,
        *,
        inputs: int = 3,
        outputs: int = 1,
        filters: int = 32,
        levels: int = 4,
        group: int = 8,
        linear_up: bool = False,
    ) -> None:
        """Build the network; `filters` is the width of the finest level, doubled at each of `levels`.

        `linear_up` interpolates linearly instead of by nearest neighbours.
        """
        super().__init__()
        widths = [filters * 2**level for level in range(levels)]
        self.multiple = 2 ** (levels - 1)
        self.down = nn.ModuleList(Level(a, b, group) for a, b in zip([inputs, *widths], widths, strict=False))
        self.up = nn.ModuleList(Level(a + b, b, group) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv3d(filters, outputs, 1)
        self.interpolation = "trilinear" if linear_up else "nearest"

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs, X, Y, Z) of images (B, inputs, X, Y, Z)."""
        skips: list[Tensor] = []
        for level in self.down:
            if skips:
                x = functional.max_pool3d(x, 2)
            x = level(x)
            skips.append(x)
        skips.pop()
        for level in self.up:
            doubled = functional.interpolate(x, scale_factor=2, mode=self.interpolation)
            x = level(torch.cat([doubled, skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits
