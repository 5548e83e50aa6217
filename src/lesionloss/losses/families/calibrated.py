"""The DSC++ family: overlap losses that down-weight uncertain errors, for better calibration."""

from torch import Tensor

from lesionloss.core.ranges import PositiveExponent, Sharpness, Weight
from lesionloss.losses.index import power, shortfall
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("dice_plus_plus", source="Yeung 2023 (DSC++), eq. 9")
def dice_plus_plus(v: Voxels, *, gamma: Sharpness = 2.0) -> Tensor:
    """Dice++: Dice that down-weights uncertain errors and penalises overconfident ones.

    Formula: 1 - index(1/2, 1/2; gamma), where FP = Σ (p (1 - t))^gamma and FN = Σ ((1 - p) t)^gamma
    gamma: how strongly uncertain errors are down-weighted (γ). Below 1 they are up-weighted: at a perfect prediction
        the slope in p is infinite; that in the logit, gamma p^gamma (1 - p), is finite and vanishes last, so training
        pushes p towards 0 and 1. (A floor of 1e-30 under p keeps every gradient finite.)
    Limits: gamma=1 is dice; for hard labels gamma=2 is dice(squared=True).
    Empty: 0 for an empty prediction, about 1 with false positives.
    Released: HyTver's code has false positives in place of false negatives, so a missed lesion adds nothing to the
        loss. The authors' own code averages over both classes (here: average_background=True).
    Example: dice_plus_plus(gamma=2)
    """
    return shortfall(v.counts(sharpen=gamma), fp=0.5, fn=0.5)


@loss("tversky_plus_plus", source="Yeung 2023 (DSC++), section on compound losses")
def tversky_plus_plus(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, gamma: Sharpness = 2.0) -> Tensor:
    """Tversky++: Tversky that down-weights uncertain errors and penalises overconfident ones.

    Formula: 1 - index(fp, fn; gamma), with errors sharpened as in dice_plus_plus
    fp: weight of false positives (α)
    fn: weight of false negatives (β)
    gamma: how strongly uncertain errors are down-weighted (γ); below 1: see dice_plus_plus
    Limits: gamma=1 is tversky; fp = fn = 0.5 is dice_plus_plus.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Example: tversky_plus_plus(fn=0.8, fp=0.2)
    """
    return shortfall(v.counts(sharpen=gamma), fp=fp, fn=fn)


@loss("focal_tversky_plus_plus", source="Yeung 2023 (DSC++), section on compound losses")
def focal_tversky_plus_plus(
    v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, exponent: PositiveExponent = 0.75, gamma: Sharpness = 2.0
) -> Tensor:
    """Focal Tversky++: focal Tversky with sharpened errors.

    Formula: (1 - index(fp, fn; gamma))^exponent, with errors sharpened as in dice_plus_plus
    fp: weight of false positives (α)
    fn: weight of false negatives (β)
    exponent: power of the Tversky loss (1/γ of focal Tversky)
    gamma: how strongly uncertain errors are down-weighted (γ of DSC++); below 1: see dice_plus_plus
    Limits: gamma=1 is focal_tversky; exponent=1 is tversky_plus_plus.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Example: focal_tversky_plus_plus
    """
    return power(tversky_plus_plus(v, fp=fp, fn=fn, gamma=gamma), exponent)
