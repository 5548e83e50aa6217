"""Sums of an overlap and a cross-entropy loss that share hyperparameters or have a name of their own."""

from torch import Tensor

from lesionloss.hyperparameters import Share, Sharpness
from lesionloss.loss_functions.calibrated import dice_plus_plus
from lesionloss.loss_functions.overlap import dice, tversky
from lesionloss.loss_functions.voxelwise import weighted_cross_entropy
from lesionloss.registry import loss
from lesionloss.voxels import Voxels


def _mix(v: Voxels, ce_share: float, lesion: float, overlap: Tensor) -> Tensor:
    """ce_share·mCE + (1 - ce_share)·overlap, where a lesion voxel weighs `lesion` and a background voxel the rest."""
    cross_entropy = weighted_cross_entropy(v, lesion=lesion, background=1 - lesion, normalise=False)
    return ce_share * cross_entropy + (1 - ce_share) * v.class_mean(overlap)


@loss("combo", source="Taghanaki 2019; Yeung 2023, eq. 13-14")
def combo(v: Voxels, *, ce_share: Share = 0.5, lesion: Share = 0.5) -> Tensor:
    """Combo: weighted cross-entropy and Dice."""
    return _mix(v, ce_share, lesion, dice(v))


@loss("combo_plus_plus", source="Yeung 2023 (DSC++), section on compound losses")
def combo_plus_plus(v: Voxels, *, ce_share: Share = 0.5, lesion: Share = 0.5, gamma: Sharpness = 2.0) -> Tensor:
    """Combo++: weighted cross-entropy and Dice++."""
    return _mix(v, ce_share, lesion, dice_plus_plus(v, gamma=gamma))


@loss("hytver", source="HyTver 2025, L_HT")
def hytver(v: Voxels, *, fn: Share = 0.7, lesion: Share = 0.3, ce_share: Share = 0.5) -> Tensor:
    """HyTver: weighted cross-entropy and Tversky."""
    return _mix(v, ce_share, lesion, tversky(v, fp=1 - fn, fn=fn))
