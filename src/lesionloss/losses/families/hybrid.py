"""Sums of an overlap loss and a cross-entropy that share hyperparameters or have their own name."""

from torch import Tensor

from lesionloss.core.ranges import Share, Sharpness
from lesionloss.losses.families.calibrated import dice_plus_plus
from lesionloss.losses.families.overlap import dice, tversky
from lesionloss.losses.families.voxelwise import weighted_cross_entropy
from lesionloss.losses.index import weighted
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


def _mix(v: Voxels, ce_share: float, lesion: float, overlap: Tensor) -> Tensor:
    """ce_share·mCE + (1 - ce_share)·overlap; weight of lesion voxels: `lesion`, of background voxels: 1 - `lesion`."""
    cross_entropy = weighted_cross_entropy(v, lesion=lesion, background=1 - lesion, normalise=False)
    return weighted(ce_share, cross_entropy, 1 - ce_share, v.class_mean(overlap))


@loss("combo", source="Taghanaki 2019; Yeung 2023, eq. 13-14")
def combo(v: Voxels, *, ce_share: Share = 0.5, lesion: Share = 0.5) -> Tensor:
    """Combo: weighted cross-entropy and Dice.

    Formula: ce_share·mCE + (1 - ce_share)·dice, mCE = weighted_cross_entropy(lesion, 1 - lesion, normalise=False)
    ce_share: share of the cross-entropy (α in the paper)
    lesion: weight of lesion voxels (β in the paper); background voxels have 1 - lesion
    Limits: hytver(fn=0.5, lesion=0.5) is combo.
    Empty: as in its two parts: no special case in the cross-entropy, about 1 in Dice with false positives.
    Released: the paper adds -Dice, which only shifts the value. In its code, operator precedence removes the minus of
        the background term.
    Example: combo(ce_share=0.3, lesion=0.8)
    """
    return _mix(v, ce_share, lesion, dice(v))


@loss("combo_plus_plus", source="Yeung 2023 (DSC++), section on compound losses")
def combo_plus_plus(v: Voxels, *, ce_share: Share = 0.5, lesion: Share = 0.5, gamma: Sharpness = 2.0) -> Tensor:
    """Combo++: weighted cross-entropy and Dice++.

    Formula: ce_share·mCE + (1 - ce_share)·dice_plus_plus(gamma)
    ce_share: share of the cross-entropy (α)
    lesion: weight of lesion voxels (β); background voxels have 1 - lesion
    gamma: how strongly uncertain errors are down-weighted (γ); below 1: see dice_plus_plus
    Limits: gamma=1 is combo.
    Empty: as in its two parts: no special case in the cross-entropy, about 1 in Dice++ with false positives.
    Example: combo_plus_plus
    """
    return _mix(v, ce_share, lesion, dice_plus_plus(v, gamma=gamma))


@loss("hytver", source="HyTver 2025, L_HT")
def hytver(v: Voxels, *, fn: Share = 0.7, lesion: Share = 0.3, ce_share: Share = 0.5) -> Tensor:
    """HyTver: weighted cross-entropy and Tversky.

    Formula: ce_share·mCE + (1 - ce_share)·tversky(1 - fn, fn), mCE = weighted_cross_entropy(lesion, 1 - lesion,
        normalise=False)
    fn: weight of false negatives in Tversky (α in the paper); false positives have 1 - fn
    lesion: weight of lesion voxels in the cross-entropy (β in the paper); background voxels have 1 - lesion
    ce_share: share of the cross-entropy (γ in the paper)
    Limits: hytver(fn=0.5, lesion=0.5) is combo.
    Empty: as in its two parts: no special case in the cross-entropy, about 1 in Tversky with false positives.
    Released: see hytver_released: another sign in the cross-entropy, and the two weights of Tversky exchanged.
    Example: hytver(fn=0.8)
    """
    return _mix(v, ce_share, lesion, tversky(v, fp=1 - fn, fn=fn))
