"""Arithmetic on counts: 1 is perfect. Nothing here sees voxels, only their counts."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.losses.kernels.terms import SMALLEST_BASE
from lesionloss.losses.voxels import Counts, Voxels

LOG_2 = 0.6931471805599453


def index(c: Counts, *, fp: float, fn: float) -> Tensor:
    """(TP + s) / (TP + fp·FP + fn·FN + s), s = 1e-5; shaped like the counts (I, K)."""
    return (c.tp + Voxels.eps) / (c.tp + fp * c.fp + fn * c.fn + Voxels.eps)


def weighted(a: float, x: Tensor, b: float, y: Tensor) -> Tensor:
    """The sum a x + b y, in one operation less."""
    return torch.add(a * x, y, alpha=b)


def shortfall(c: Counts, *, fp: float, fn: float) -> Tensor:
    """1 - index, without the subtraction, so that it keeps its digits near a perfect prediction."""
    errors = weighted(fp, c.fp, fn, c.fn)
    return errors / (c.tp + errors + Voxels.eps)


def power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent for a base >= 0; if the exponent is below 1, the base is clamped so that the slope stays finite."""
    return base.pow(exponent) if exponent >= 1 else base.clamp_min(SMALLEST_BASE).pow(exponent)


def rarity(sizes: Tensor, power: float) -> Tensor:
    """Weights of classes of N voxels, (I, K): N^-power, divided by the largest; an absent class has the largest."""
    held = sizes > 0
    rarest = torch.where(held, sizes, torch.inf).amin(1, keepdim=True)
    return torch.where(held, (rarest / sizes.clamp_min(Voxels.eps)).pow(power), 1.0)


def log_cosh(x: Tensor) -> Tensor:
    """The function log cosh x, without overflow for large and without cancellation to zero for moderate x."""
    size = x.abs()
    return size - logsigmoid(2 * size) - LOG_2
