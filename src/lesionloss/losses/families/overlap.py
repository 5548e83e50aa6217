"""Overlap losses: 1 - index of the soft counts of true positives, false positives and false negatives."""

from torch import Tensor

from lesionloss.core.ranges import Exponent, PositiveExponent, Weight
from lesionloss.losses.index import log_cosh, power, rarity, shortfall
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels, times_columns


@loss("dice", source="Milletari 2016; Cabezas & Diez 2024, eq. 4; Yeung 2023, eq. 2-3; Hosseini 2024, eq. 1 (squared)")
def dice(v: Voxels, *, squared: bool = False) -> Tensor:
    """Dice: overlap of prediction and reference, whatever the size of the lesion.

    Formula: 1 - index(1/2, 1/2); with squared=True: 1 - (TP + s) / ((Σ p² + Σ t²) / 2 + s)
    squared: squares in the denominator, as in Milletari
    Limits: tversky(fp=0.5, fn=0.5) and dice_plus_plus(gamma=1) are dice; for hard labels dice(squared=True) is
        dice_plus_plus(gamma=2).
    Empty: 0 for an empty prediction, about 1 with false positives.
    Soft labels: not least at p = t, but where p is 0 or 1: a region with shares of 0.65 costs 0.35 at p = t and 0.21 at
        p = 1. Take soft_dice_semimetric, or squared=True: both are 0 at p = t.
    Released: Cabezas & Diez print the factor 2 outside of the smoothing, which gives -1 for two empty masks.
    Example: dice
    """
    c = v.counts()
    if not squared:
        return shortfall(c, fp=0.5, fn=0.5)
    errors = v.squared_errors() / 2
    return errors / (c.tp + errors + v.eps)


@loss("jaccard", source="Jaccard 1901; the soft form of intersection over union")
def jaccard(v: Voxels) -> Tensor:
    """Jaccard: intersection over union; errors have twice the weight that they have in Dice.

    Formula: 1 - index(1, 1)
    Limits: tversky(fp=1, fn=1) is the same.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Soft labels: not least at p = t, see dice.
    Example: jaccard
    """
    return shortfall(v.counts(), fp=1.0, fn=1.0)


@loss("tversky", source="Salehi 2017, eq. 3; HyTver 2025, L_TI; Yeung 2023, eq. 15-16")
def tversky(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7) -> Tensor:
    """Tversky: overlap with separate weights for false positives and false negatives.

    Formula: 1 - index(fp, fn) = 1 - (TP + s) / (TP + fp·FP + fn·FN + s)
    fp: weight of false positives (α in Salehi and in Yeung 2023 eq. 16; 1 - α in HyTver)
    fn: weight of false negatives (β in Salehi and in Yeung 2023 eq. 16; α in HyTver)
    Limits: fp = fn = 0.5 is dice, fp = fn = 1 is jaccard.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Soft labels: not least at p = t, see dice.
    Released: in the unified focal loss, δ weighs false negatives in the code and false positives in eq. 21; HyTver's
        baseline has the two weights exchanged.
    Example: tversky(fp=0.2, fn=0.8)
    """
    return shortfall(v.counts(), fp=fp, fn=fn)


@loss("focal_tversky", source="Abraham & Khan 2019, eq. 5; Yeung 2023, eq. 17")
def focal_tversky(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, exponent: PositiveExponent = 0.75) -> Tensor:
    """Focal Tversky: the Tversky loss to a power.

    Formula: (1 - index(fp, fn))^exponent, per image and class
    fp: weight of false positives (α)
    fn: weight of false negatives (β)
    exponent: power of the Tversky loss (1/γ with γ = 4/3); below 1, the gradient stays large near a perfect overlap
    Limits: exponent=1 is tversky.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Released: elsewhere the power is γ, 1/γ or 1 - γ, or applies to the mean over classes; here it is the number given,
        and applies before any average.
    Example: focal_tversky(exponent=0.75)
    """
    return power(tversky(v, fp=fp, fn=fn), exponent)


@loss("generalised_dice", source="Sudre 2017; Cabezas & Diez 2024, eq. 3 (its code: power 1)")
def generalised_dice(v: Voxels, *, power: Exponent = 2.0) -> Tensor:
    """Generalised Dice: all classes in one ratio, with larger weights for rare classes.

    Formula: 1 - (Σ w TP + s) / (Σ w (TP + FP/2 + FN/2) + s) over all classes, w = N_c^-power divided by the largest
    power: how strongly the weight grows as a class becomes rarer (2 in Sudre; 1 in the code of Cabezas & Diez); an
        absent class has the largest weight
    Limits: power=0 gives all classes equal weight.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Released: Cabezas & Diez print power 2 and compute power 1, with the weights of the first image for the whole batch.
    Example: generalised_dice(power=1)
    """
    c = v.counts(average_background=True)
    weights = rarity(v.class_voxels, power)
    if v.options.skip_empty:
        weights = weights * v.present(v.classes)
    if v.class_weights is not None:
        weights = times_columns(weights, [weight / max(v.class_weights) for weight in v.class_weights])
    errors = (weights * (c.fp + c.fn)).sum(1) / 2
    return errors / ((weights * c.tp).sum(1) + errors + v.eps)


@loss("log_cosh_dice", source="Jadon 2020")
def log_cosh_dice(v: Voxels) -> Tensor:
    """Log-cosh Dice: the Dice loss, flattened near its minimum.

    Formula: log cosh(dice), per image and class
    Limits: about dice² / 2 where dice is small.
    Empty: 0 for an empty prediction, about 0.43 with false positives.
    Example: log_cosh_dice
    """
    return log_cosh(dice(v))
