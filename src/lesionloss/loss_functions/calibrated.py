"""The DSC++ family: overlap losses that punish sure errors more than doubtful ones, for better calibration."""

from torch import Tensor

from lesionloss.hyperparameters import PositiveExponent, Sharpness, Weight
from lesionloss.index import power, shortfall
from lesionloss.registry import loss
from lesionloss.voxels import Voxels


@loss("dice_plus_plus", source="Yeung 2023 (DSC++), eq. 9")
def dice_plus_plus(v: Voxels, *, gamma: Sharpness = 2.0) -> Tensor:
    """Dice++: Dice that forgives doubtful errors and punishes sure ones."""
    return shortfall(v.counts(sharpen=gamma), fp=0.5, fn=0.5)


@loss("tversky_plus_plus", source="Yeung 2023 (DSC++), section on compound losses")
def tversky_plus_plus(v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, gamma: Sharpness = 2.0) -> Tensor:
    """Tversky++: Tversky that forgives doubtful errors and punishes sure ones."""
    return shortfall(v.counts(sharpen=gamma), fp=fp, fn=fn)


@loss("focal_tversky_plus_plus", source="Yeung 2023 (DSC++), section on compound losses")
def focal_tversky_plus_plus(
    v: Voxels, *, fp: Weight = 0.3, fn: Weight = 0.7, exponent: PositiveExponent = 0.75, gamma: Sharpness = 2.0
) -> Tensor:
    """Focal Tversky++: focal Tversky with sharpened errors."""
    return power(tversky_plus_plus(v, fp=fp, fn=fn, gamma=gamma), exponent)
