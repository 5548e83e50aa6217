"""The losses: plain functions of `Voxels`, one family a file, registered in the order of the documentation."""

# The order of these lines is the order of the list.
# ruff: noqa: I001
from lesionloss.loss_functions.voxelwise import cross_entropy, focal, logcosh, weighted_cross_entropy
from lesionloss.loss_functions.gradient import weighted_gradient
from lesionloss.loss_functions.overlap import dice, focal_tversky, generalised_dice, jaccard, log_cosh_dice, tversky
from lesionloss.loss_functions.calibrated import dice_plus_plus, focal_tversky_plus_plus, tversky_plus_plus
from lesionloss.loss_functions.topk import topk_cross_entropy, topk_dice
from lesionloss.loss_functions.hybrid import combo, combo_plus_plus, hytver
from lesionloss.loss_functions.unified import (
    asymmetric_focal,
    asymmetric_focal_tversky,
    asymmetric_unified_focal,
    asymmetric_unified_focal_plus_plus,
    symmetric_focal,
    symmetric_focal_tversky,
    symmetric_unified_focal,
    symmetric_unified_focal_plus_plus,
)
from lesionloss.loss_functions.aliases import ce_topk_dice, dice_ce, dice_focal, dice_topk
from lesionloss.loss_functions.released import hytver_released

__all__ = [
    "asymmetric_focal",
    "asymmetric_focal_tversky",
    "asymmetric_unified_focal",
    "asymmetric_unified_focal_plus_plus",
    "ce_topk_dice",
    "combo",
    "combo_plus_plus",
    "cross_entropy",
    "dice",
    "dice_ce",
    "dice_focal",
    "dice_plus_plus",
    "dice_topk",
    "focal",
    "focal_tversky",
    "focal_tversky_plus_plus",
    "generalised_dice",
    "hytver",
    "hytver_released",
    "jaccard",
    "log_cosh_dice",
    "logcosh",
    "symmetric_focal",
    "symmetric_focal_tversky",
    "symmetric_unified_focal",
    "symmetric_unified_focal_plus_plus",
    "topk_cross_entropy",
    "topk_dice",
    "tversky",
    "tversky_plus_plus",
    "weighted_cross_entropy",
    "weighted_gradient",
]
