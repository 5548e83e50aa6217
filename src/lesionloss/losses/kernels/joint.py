"""Sums of cross-entropies without a logarithm for each voxel: several share one, or a series does without."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Row = npt.NDArray[np.float32 | np.float64]  # (r,): a number for each row

JOINTLY_SURE = 0.99  # up to there, 1 - Q has digits enough for its logarithm
FEW_SMALL = 0.02  # where Σ q² is above that share of Σ q, Σ ce - Σ q is at most a hundred times less exact than Σ ce
JUNCTION = 0.05  # from that q on, ce - q is at most forty times less exact than ce


def any_wrong(q: Tensor, together: int) -> Tensor:
    """Q = 1 - Π (1 - q), (r, v / together), from q (r, v); v is a multiple of `together`, a power of two.

    Column j holds columns j, j + v / together, j + 2 v / together and so on. Built up by x + y (1 - x), which keeps
    the digits of small q.
    """
    one = q.new_ones(())
    joint = q
    for _ in range(together.bit_length() - 1):
        first, second = joint.chunk(2, 1)
        joint = torch.lerp(first, one, second, out=None if joint is q else first)
    return joint


def tail_sums(q: Tensor, cross_entropy_sums: Callable[[Tensor, Row], Row]) -> Row:
    """Σ (ce - q) of each row of q (r, v): see `Tail` with gamma 2.

    `cross_entropy_sums(q, linear)` must give Σ ce = Σ -log(1 - q) of such rows, given their Σ q.
    """
    linear = sums(q)
    if (dots(q, q) > FEW_SMALL * linear).all():
        return cross_entropy_sums(q, linear) - linear
    large = torch.nn.functional.threshold(q, JUNCTION, 0.0)
    linear = sums(large)
    return cross_entropy_sums(large, linear) - linear + _series(q - large)


def _series(q: Tensor) -> Row:
    """Σ (q²/2 + q³/3 + ...) of each row, for q up to JUNCTION; the first missing term is below the rounding."""
    last = 6 if q.dtype == torch.float32 else 13
    powers = [q]
    while len(powers) < (last + 1) // 2:
        powers.append(powers[-1] * q)
    total = np.zeros(len(q))
    for j in range(2, last + 1):
        total += dots(powers[(j + 1) // 2 - 1], powers[j // 2 - 1]) / j
    return total


def sums(x: Tensor) -> Row:
    """Σ x of each row."""
    row: Row = x.sum(1).numpy()
    return row


def dots(x: Tensor, y: Tensor) -> Row:
    """Σ x y of each row; twice as quick as `torch.linalg.vecdot`."""
    return np.array([float(torch.dot(one, other)) for one, other in zip(x, y, strict=True)])
