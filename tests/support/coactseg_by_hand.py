"""CoactSeg's network from its published layer list: names, shapes, and the pass forward on a dictionary of tensors.

Facts of the published code (networks/VNet.py of CoactSeg and of HyTver), put down without modules of ours: the tests
hold our network against it, names, shapes and values.
"""

import torch
from torch import Tensor
from torch.nn import functional

DEPTHS = {"one": 1, "two": 2, "three": 3, "four": 3, "five": 3}
DECODER = {"six": (3, 8), "seven": (3, 4), "eight": (2, 2)}  # convolutions, width in filters
UP = {"five": 16, "six": 8, "seven": 4, "eight": 2}  # width in filters that comes in


def _normed(prefix: str, index: int, width: int) -> dict[str, tuple[int, ...]]:
    norm = f"{prefix}.{index}"
    vectors = {f"{norm}.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
    return vectors | {f"{norm}.num_batches_tracked": ()}


def _block(
    prefix: str, count: int, inputs: int, width: int, side: int, residual: bool, up: bool = False
) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for number in range(count):
        a = inputs if number == 0 else width
        channels = (a, width) if up else (width, a)
        found[f"{prefix}.conv.{3 * number}.weight"] = (*channels, side, side, side)
        found[f"{prefix}.conv.{3 * number}.bias"] = (width,)
        found |= _normed(f"{prefix}.conv", 3 * number + 1, width)
    if residual:
        found[f"{prefix}.conv1x1.weight"] = (width, inputs, 1, 1, 1)
        found[f"{prefix}.conv1x1.bias"] = (width,)
    return found


def published_shapes(inputs: int, classes: int, filters: int, *, residual: bool = False) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the state dict that the published code saves."""
    found: dict[str, tuple[int, ...]] = {}
    width, before = filters, inputs
    for word, count in DEPTHS.items():
        found |= _block(f"encoder.block_{word}", count, before, width, 3, residual)
        if word != "five":
            found |= _block(f"encoder.block_{word}_dw", 1, width, 2 * width, 2, False)
            before, width = 2 * width, 2 * width
    for word, times in UP.items():
        if word in DECODER:
            found |= _block(f"decoder.block_{word}", DECODER[word][0], times * filters, times * filters, 3, residual)
        found |= _block(f"decoder.block_{word}_up", 1, times * filters, times * filters // 2, 2, False, up=True)
    for number in (1, 2, 3):
        found |= _block(f"decoder.block_nine_{number}", 1, filters, filters, 3, residual)
        found[f"decoder.out_conv_{number}.weight"] = (classes, filters, 1, 1, 1)
        found[f"decoder.out_conv_{number}.bias"] = (classes,)
    return found | _block("decoder.block_c2f", 1, 3 * filters, filters, 3, residual)


def random_state(shapes: dict[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, Tensor]:
    """Tensors of these shapes, with variances above 0 and whole numbers where they are counts."""
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        else:
            scale = 0.1 if len(shape) > 1 else 0.5
            found[name] = scale * torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            found[name] = found[name].abs() + 0.5
    return found


class Published:
    """The pass forward in evaluation, read from the dictionary."""

    def __init__(
        self, state: dict[str, Tensor], *, slope: float, inner_slope: float, residual: bool, deep: bool
    ) -> None:
        self.state, self.slope, self.inner_slope = state, slope, inner_slope
        self.residual, self.deep = residual, deep

    def _norm(self, x: Tensor, name: str) -> Tensor:
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _block(self, x: Tensor, name: str, count: int, slope: float) -> Tensor:
        given = x
        for number in range(count):
            key = f"{name}.conv.{3 * number}"
            x = functional.conv3d(x, self.state[f"{key}.weight"], self.state[f"{key}.bias"], padding=1)
            x = self._norm(x, f"{name}.conv.{3 * number + 1}")
            if number < count - 1 or not self.residual:
                x = functional.leaky_relu(x, slope)
        if not self.residual:
            return x
        weight, bias = self.state[f"{name}.conv1x1.weight"], self.state[f"{name}.conv1x1.bias"]
        return functional.leaky_relu(x + functional.conv3d(given, weight, bias), 0.01)

    def _step(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.state[f"{name}.conv.0.weight"], self.state[f"{name}.conv.0.bias"]
        step = functional.conv_transpose3d if name.endswith("_up") else functional.conv3d
        return functional.leaky_relu(self._norm(step(x, weight, bias, stride=2), f"{name}.conv.1"), self.slope)

    def _head(self, x: Tensor, number: int) -> Tensor:
        name = f"decoder.out_conv_{number}"
        return functional.conv3d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of baseline, follow-up and new lesions."""
        skips = {}
        for word, count in DEPTHS.items():
            x = skips[word] = self._block(x, f"encoder.block_{word}", count, self.slope)
            if word != "five":
                x = self._step(x, f"encoder.block_{word}_dw")
        x = self._step(x, "decoder.block_five_up") + skips["four"]
        for word, skip in (("six", "three"), ("seven", "two"), ("eight", "one")):
            x = self._block(x, f"decoder.block_{word}", DECODER[word][0], self.inner_slope)
            x = self._step(x, f"decoder.block_{word}_up") + skips[skip]
            if word == "six" and self.deep:
                x = x + self._step(skips["four"], "decoder.block_six_up")
        first, second, third = (self._block(x, f"decoder.block_nine_{n}", 1, self.slope) for n in (1, 2, 3))
        both = self._block(torch.cat([second - first, first, third], 1), "decoder.block_c2f", 1, self.slope)
        return self._head(first, 1), self._head(second, 2), self._head(both, 3)
