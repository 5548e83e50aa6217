"""The sums over every voxel, in several implementations with the same values and gradients."""

from torch import Tensor

from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.types import Kernel


def fastest(logits: Tensor) -> Kernel:
    """The kernel for a batch on this device."""
    return READABLE


__all__ = ["READABLE", "Kernel", "fastest"]
