"""The U-Net with a ResNet-34 encoder of the TopK Dice paper, with heads for deep supervision."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lesionloss.core.errors import UsageError
from lesionloss.networks.double_unet import batch_norm_then_relu
from lesionloss.networks.layers import Layers, layers_for
from lesionloss.networks.network_output import Outputs

BLOCKS = (3, 4, 6, 3)


class BasicBlock(nn.Module):
    """Two 3-convolutions with batch norm around a shortcut; the names are those of published ResNet weights."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, stride: int) -> None:
        """Build the block; a stride or another width needs a convolution in the shortcut."""
        super().__init__()
        self.conv1 = layers.convolution(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = layers.batch_norm(outputs)
        self.conv2 = layers.convolution(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = layers.batch_norm(outputs)
        self.downsample: nn.Module | None = None
        self.stride = stride
        if stride != 1 or inputs != outputs:
            # The stride is taken before: oneDNN of torch 2.13 crashes in strided 1-convolutions of few channels.
            shortcut = layers.convolution(inputs, outputs, 1, bias=False)
            self.downsample = nn.Sequential(shortcut, layers.batch_norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, outputs, *space / stride)."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.downsample is None:
            return functional.relu(inner + x)
        every = (slice(None), slice(None), *[slice(None, None, self.stride)] * (x.ndim - 2))
        return functional.relu(inner + self.downsample(x[every]))


class ResNet34Encoder(nn.Module):
    """ResNet-34 without its classifier (He 2016): features at 1/2, 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, layers: Layers, inputs: int, filters: int) -> None:
        """Build the encoder; `filters` is the width of its first level."""
        super().__init__()
        self.conv1 = layers.convolution(inputs, filters, 7, stride=2, padding=3, bias=False)
        self.bn1 = layers.batch_norm(filters)
        self.maxpool = layers.max_pool(3, stride=2, padding=1)
        width = filters
        for number, count in enumerate(BLOCKS, start=1):
            before, width = width, filters * 2 ** (number - 1)
            blocks = [BasicBlock(layers, before, width, 1 if number == 1 else 2)]
            blocks += [BasicBlock(layers, width, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of all levels of (B, inputs, *space), from fine to coarse."""
        features = [functional.relu(self.bn1(self.conv1(x)))]
        x = self.maxpool(features[0])
        for number in range(1, len(BLOCKS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            features.append(x)
        return features


class ResNet34UNet(nn.Module):
    """ResNet-34 encoder; nearest upsampling, skips concatenated, two convolutions a level; heads at 1/4, 1/8, 1/16.

    Input (B, C, *space) with `axes` axes; sides must be multiples of 32. Gives `Outputs`: `logits` are those of the
    finest head on the input's grid, `deep` (only in training) those of the others on their own.
    """

    multiple = 32

    def __init__(
        self, *, inputs: int = 3, outputs: int = 1, filters: int = 64, axes: int = 2, full_resolution: bool = False
    ) -> None:
        """Build the network.

        Args:
            inputs: Channels of the images.
            outputs: Channels of the logits.
            filters: Width of the encoder's first level.
            axes: 2 or 3.
            full_resolution: Go on to full resolution, with a head there too. Otherwise the decoder ends at 1/4, and the
                logits of that head are up-sampled linearly, as TopK Dice has it.
        """
        super().__init__()
        if filters % 4:
            raise UsageError(f"resnet34_unet: filters must be a multiple of 4, got {filters}")
        self.axes = axes
        layers = layers_for(axes)
        stage = batch_norm_then_relu(axes)
        levels = 5 if full_resolution else 3
        skips = [4 * filters, 2 * filters, filters, filters, 0][:levels]
        widths = [4 * filters, 2 * filters, filters, filters // 2, filters // 4][:levels]
        self.encoder = ResNet34Encoder(layers, inputs, filters)
        before = [8 * filters, *widths]
        self.decoder = nn.ModuleList(stage(a + s, b) for a, s, b in zip(before, skips, widths, strict=False))
        coarse = [layers.convolution(width, outputs, 1) for width in widths[2::-1]]  # at 1/4, 1/8, 1/16
        self.head = layers.convolution(widths[-1], outputs, 3, padding=1) if full_resolution else coarse.pop(0)
        self.deep_heads = nn.ModuleList(coarse)
        self.heads = ("head", *(f"deep_heads.{number}" for number in range(len(coarse))))

    def forward(self, x: Tensor) -> Outputs:
        """Return the outputs for images (B, inputs, *space)."""
        space = x.shape[2:]
        *skips, x = self.encoder(x)
        found: list[Tensor] = []
        for stage in self.decoder:
            x = functional.interpolate(x, scale_factor=2)
            x = stage(torch.cat([x, skips.pop()], dim=1) if skips else x)
            found.append(x)
        logits = self.head(x)
        if logits.shape[2:] != space:
            logits = functional.interpolate(logits, size=space, mode="bilinear" if self.axes == 2 else "trilinear")
        pairs = zip(self.deep_heads, found[: len(self.deep_heads)][::-1], strict=True)
        deep = tuple(head(features) for head, features in pairs) if self.training else ()
        return Outputs(logits, deep)
