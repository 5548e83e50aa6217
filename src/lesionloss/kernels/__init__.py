"""The sums over every voxel, in several implementations with the same values and gradients."""

from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.types import Kernel

__all__ = ["READABLE", "Kernel"]
