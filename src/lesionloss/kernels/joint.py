"""Voxels that share a logarithm: the probability that any of several is wrong."""

import torch
from torch import Tensor

JOINTLY_SURE = 0.99  # up to there, 1 - Q has digits enough for its logarithm


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
