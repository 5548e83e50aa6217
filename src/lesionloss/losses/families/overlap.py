"""Losses of the overlap between prediction and reference: 1 - index of the soft counts."""

import torch
from torch import Tensor

from lesionloss.core.ranges import Exponent, PositiveExponent, Weight
from lesionloss.losses.index import log_cosh, power, shortfall
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("dice", source="Milletari 2016; Cabezas & Diez 2024, eq. 4; Yeung 2023, eq. 2-3; Hosseini 2025, eq. 1 (squared)")
def dice(v: Voxels, *, squared: bool = False) -> Tensor:
    """Dice: the overlap of prediction and reference, however small the lesion.

    Formula: 1 - index(1/2, 1/2); with squared=True: 1 - (TP + s) / ((Σ p² + Σ t²) / 2 + s)
    squared: squares in the denominator, as Milletari has it
    Limits: tversky(fp=0.5, fn=0.5) and dice_plus_plus(gamma=1) are dice; for hard labels dice(squared=True) is
        dice_plus_plus(gamma=2).
    Empty: finding nothing costs 0, a false alarm about 1.
    Released: Cabezas & Diez print the 2 outside of the smoothing, so that two empty masks would score -1.
    Example: dice
    """
    c = v.counts()
    if not squared:
        return shortfall(c, fp=0.5, fn=0.5)
    errors = v.squared_errors() / 2
    return errors / (c.tp + errors + v.eps)


@loss("jaccard", source="Jaccard 1901; the soft form of intersection over union")
def jaccard(v: Voxels) -> Tensor:
    """Jaccard: intersection over union, stricter with errors than Dice.

    Formula: 1 - index(1, 1)
    Limits: tversky(fp=1, fn=1) is the same.
    Empty: finding nothing costs 0, a false alarm about 1.
    Example: jaccard
    """
    return shortfall(v.counts(), fp=1.0, fn=1.0)


@loss("tversky", source="Salehi 2017, eq. 3; HyTver 2025, L_TI; Yeung 2023, eq. 15-16")
def tversky(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7) -> Tensor:
    """Tversky: overlap with a price for false alarms and another for misses.

    Formula: 1 - index(fp, fn) = 1 - (TP + s) / (TP + fp·FP + fn·FN + s)
    fp: price of a false alarm (α in Salehi and in Yeung 2023 eq. 16; 1 - α in HyTver)
    fn: price of a miss (β in Salehi and in Yeung 2023 eq. 16; α in HyTver)
    Limits: fp = fn = 0.5 is dice, fp = fn = 1 is jaccard.
    Empty: finding nothing costs 0, a false alarm about 1.
    Released: the code of the unified focal loss prices misses by δ, its eq. 21 false alarms; HyTver's baseline has
        the prices exchanged.
    Example: tversky(fp=0.2, fn=0.8)
    """
    return shortfall(v.counts(), fp=fp, fn=fn)


@loss("focal_tversky", source="Abraham & Khan 2019, eq. 5; Yeung 2023, eq. 17")
def focal_tversky(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, exponent: PositiveExponent = 0.75) -> Tensor:
    """Focal Tversky: the Tversky loss to a power.

    Formula: (1 - index(fp, fn))^exponent, per image and class
    fp: price of a false alarm (α)
    fn: price of a miss (β)
    exponent: power of the Tversky loss (1/γ with γ = 4/3); below 1 a good overlap keeps its pull
    Limits: exponent=1 is tversky.
    Empty: finding nothing costs 0, a false alarm about 1.
    Released: the power is found as γ, 1/γ, 1 - γ and on the mean over classes; here it is what its name says,
        before any average.
    Example: focal_tversky(exponent=0.75)
    """
    return power(tversky(v, fp=fp, fn=fn), exponent)


@loss("generalised_dice", source="Sudre 2017; Cabezas & Diez 2024, eq. 3 (its code: power 1)")
def generalised_dice(v: Voxels, *, power: Exponent = 2.0) -> Tensor:
    """Generalised Dice: all classes in one ratio, rare ones weighted up.

    Formula: 1 - (Σ w TP + s) / (Σ w (TP + FP/2 + FN/2) + s) over all classes, w = N_c^-power divided by the largest
    power: how strongly rare classes are weighted up (2 in Sudre; 1 in the code of Cabezas & Diez); an absent class
        gets the largest weight
    Limits: power=0 weighs the classes alike.
    Empty: finding nothing costs 0, a false alarm about 1.
    Released: Cabezas & Diez print power 2 and compute 1; in a batch they use the weights of its first image for all.
    Example: generalised_dice(power=1)
    """
    c = v.counts(average_background=True)
    held = v.class_voxels > 0
    rarest = torch.where(held, v.class_voxels, torch.inf).amin(1, keepdim=True)
    weights = torch.where(held, (rarest / v.class_voxels.clamp_min(v.eps)).pow(power), 1.0)
    if v.options.skip_empty:
        weights = weights * v.present(v.classes)
    errors = (weights * (c.fp + c.fn)).sum(1) / 2
    return errors / ((weights * c.tp).sum(1) + errors + v.eps)


@loss("log_cosh_dice", source="Jadon 2020")
def log_cosh_dice(v: Voxels) -> Tensor:
    """Log-cosh Dice: the Dice loss with a flat end, gentle once the overlap is good.

    Formula: log cosh(dice), per image and class
    Limits: about dice² / 2 where dice is small.
    Empty: finding nothing costs 0, a false alarm about 1 (0.43 after log cosh).
    Example: log_cosh_dice
    """
    return log_cosh(dice(v))
