"""Losses of the overlap between prediction and reference: 1 - index of the soft counts."""

import torch
from torch import Tensor

from lesionloss.hyperparameters import Exponent, PositiveExponent, Weight
from lesionloss.index import log_cosh, power, shortfall
from lesionloss.registry import loss
from lesionloss.voxels import Voxels


@loss("dice", source="Milletari 2016; Cabezas & Diez 2024, eq. 4; Yeung 2023, eq. 2-3; Hosseini 2025, eq. 1 (squared)")
def dice(v: Voxels, *, squared: bool = False) -> Tensor:
    """Dice: the overlap of prediction and reference, however small the lesion."""
    c = v.counts()
    if not squared:
        return shortfall(c, fp=0.5, fn=0.5)
    errors = v.squared_errors() / 2
    return errors / (c.tp + errors + v.eps)


@loss("jaccard", source="Jaccard 1901; the soft form of intersection over union")
def jaccard(v: Voxels) -> Tensor:
    """Jaccard: intersection over union, stricter with errors than Dice."""
    return shortfall(v.counts(), fp=1.0, fn=1.0)


@loss("tversky", source="Salehi 2017, eq. 3; HyTver 2025, L_TI; Yeung 2023, eq. 15-16")
def tversky(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7) -> Tensor:
    """Tversky: overlap with a price for false alarms and another for misses."""
    return shortfall(v.counts(), fp=fp, fn=fn)


@loss("focal_tversky", source="Abraham & Khan 2019, eq. 5; Yeung 2023, eq. 17")
def focal_tversky(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, exponent: PositiveExponent = 0.75) -> Tensor:
    """Focal Tversky: the Tversky loss to a power."""
    return power(tversky(v, fp=fp, fn=fn), exponent)


@loss("generalised_dice", source="Sudre 2017; Cabezas & Diez 2024, eq. 3 (its code: power 1)")
def generalised_dice(v: Voxels, *, power: Exponent = 2.0) -> Tensor:
    """Generalised Dice: all classes in one ratio, rare ones weighted up."""
    c = v.counts(background=True)
    held = v.class_voxels > 0
    rarest = torch.where(held, v.class_voxels, torch.inf).amin(1, keepdim=True)
    weights = torch.where(held, (rarest / v.class_voxels.clamp_min(v.eps)).pow(power), 1.0)
    if v.reading.skip_empty:
        weights = weights * v.present(v.classes)
    errors = (weights * (c.fp + c.fn)).sum(1) / 2
    return errors / ((weights * c.tp).sum(1) + errors + v.eps)


@loss("log_cosh_dice", source="Jadon 2020")
def log_cosh_dice(v: Voxels) -> Tensor:
    """Log-cosh Dice: the Dice loss with a flat end, gentle once the overlap is good."""
    return log_cosh(dice(v))
