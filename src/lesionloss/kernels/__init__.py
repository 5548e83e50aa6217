"""The sums over every voxel, in several implementations with the same values and gradients."""

import torch
from torch import Tensor

from lesionloss.catalogue import Catalogue
from lesionloss.kernels.fused import FUSED
from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.types import Kernel

KERNELS: Catalogue[Kernel] = Catalogue("kernel")
KERNELS.add(READABLE.name, READABLE)
KERNELS.add(FUSED.name, FUSED)


def by_name(name: str) -> Kernel:
    """Raises UsageError with the known names if there is no such kernel."""
    return KERNELS.get(name)


def fastest(logits: Tensor) -> Kernel:
    """The kernel for a batch on this device."""
    if logits.device.type != "cpu" or torch.compiler.is_compiling():
        return READABLE
    return FUSED


__all__ = ["FUSED", "KERNELS", "READABLE", "Kernel", "by_name", "fastest"]
