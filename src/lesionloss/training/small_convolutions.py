"""Convolutions whose images are smaller than the kernel run in float32 on a CPU.

In bf16, oneDNN (torch 2.13, processors with AVX-512 bf16) does not fill the weight gradient of such 3-D convolutions.
It holds whatever was in memory, and some shapes end the process. The images are so small that no time is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv3d, torch.nn.functional.conv3d)


class SmallConvolutionsInFloat32(TorchFunctionMode):
    """Within it, a 3-D convolution on a CPU ignores autocast where an image is smaller than the kernel on an axis."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, such a convolution in float32."""
        given = dict(kwargs or {})
        if func in CONVOLUTIONS and _is_small(args[0], args[1]):
            with torch.autocast("cpu", enabled=False):
                return func(args[0].float(), *args[1:], **given)
        return func(*args, **given)


def _is_small(images: torch.Tensor, weight: torch.Tensor) -> bool:
    sides = zip(images.shape[2:], weight.shape[2:], strict=True)
    return images.device.type == "cpu" and any(side < kernel for side, kernel in sides)
