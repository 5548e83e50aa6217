"""The sums over every voxel that losses are made of, in two implementations with the same values and gradients."""

from lesionloss.core.catalogue import Catalogue
from lesionloss.losses.kernels.fast import FAST
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.types import Kernel

KERNELS: Catalogue[Kernel] = Catalogue("kernel")
KERNELS.add(READABLE.name, READABLE)
KERNELS.add(FAST.name, FAST)


def by_name(name: str) -> Kernel:
    """The kernel of that name.

    Raises:
        UsageError: there is none; the message has the known names.
    """
    return KERNELS.get(name)


__all__ = ["FAST", "KERNELS", "READABLE", "Kernel", "by_name"]
