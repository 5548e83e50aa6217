"""The sums over every voxel, in several implementations with the same values and gradients."""

import torch
from torch import Tensor

from lesionloss.core.catalogue import Catalogue
from lesionloss.losses.kernels import compiled, on_cuda
from lesionloss.losses.kernels.fused import COMPILED, CUDA, FUSED
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.types import Kernel

KERNELS: Catalogue[Kernel] = Catalogue("kernel")
KERNELS.add(READABLE.name, READABLE)
KERNELS.add(FUSED.name, FUSED)
if on_cuda.installed():
    KERNELS.add(CUDA.name, CUDA)
if compiled.installed():
    KERNELS.add(COMPILED.name, COMPILED)


def by_name(name: str) -> Kernel:
    """Raises UsageError with the known names if there is no such kernel."""
    return KERNELS.get(name)


def fastest(logits: Tensor) -> Kernel:
    """The kernel for a batch on this device."""
    if torch.compiler.is_compiling():
        return READABLE
    if logits.device.type == "cuda" and CUDA.name in KERNELS:
        return CUDA
    if logits.device.type != "cpu":
        return READABLE
    return COMPILED if COMPILED.name in KERNELS else FUSED


__all__ = ["COMPILED", "CUDA", "FUSED", "KERNELS", "READABLE", "Kernel", "by_name", "fastest"]
