"""The losses: plain functions of `Voxels`, one family a file, registered in the order of the documentation."""

# The order of these lines is the order of the list.
# ruff: noqa: I001
from lesionloss.losses.families.voxelwise import cross_entropy, focal, logcosh, weighted_cross_entropy
from lesionloss.losses.families.gradient import weighted_gradient
from lesionloss.losses.families.overlap import dice, focal_tversky, generalised_dice, jaccard, log_cosh_dice, tversky
from lesionloss.losses.families.calibrated import dice_plus_plus, focal_tversky_plus_plus, tversky_plus_plus
from lesionloss.losses.families.topk import topk_cross_entropy, topk_dice
from lesionloss.losses.families.hybrid import combo, combo_plus_plus, hytver
from lesionloss.losses.families.unified import (
    asymmetric_focal,
    asymmetric_focal_tversky,
    asymmetric_unified_focal,
    asymmetric_unified_focal_plus_plus,
    symmetric_focal,
    symmetric_focal_tversky,
    symmetric_unified_focal,
    symmetric_unified_focal_plus_plus,
)
from lesionloss.losses.families.polynomial import poly_cross_entropy, poly_focal
from lesionloss.losses.families.agreement import matthews, soft_dice_semimetric
from lesionloss.losses.families.lovasz import lovasz_hinge, lovasz_softmax
from lesionloss.losses.families.boundary import boundary, hausdorff_dt, surface
from lesionloss.losses.families.erosion import cl_dice, hausdorff_er
from lesionloss.losses.families.calibration_terms import calibration_error, logit_margin
from lesionloss.losses.families.lesionwise import blob, component_dice, inverse_weighted, lesion_tversky
from lesionloss.losses.families.aliases import ce_topk_dice, dice_ce, dice_focal, dice_topk
from lesionloss.losses.families.released import hytver_released

__all__ = [
    "asymmetric_focal",
    "asymmetric_focal_tversky",
    "asymmetric_unified_focal",
    "asymmetric_unified_focal_plus_plus",
    "blob",
    "boundary",
    "calibration_error",
    "ce_topk_dice",
    "cl_dice",
    "combo",
    "combo_plus_plus",
    "component_dice",
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
    "hausdorff_dt",
    "hausdorff_er",
    "hytver",
    "hytver_released",
    "inverse_weighted",
    "jaccard",
    "lesion_tversky",
    "log_cosh_dice",
    "logcosh",
    "logit_margin",
    "lovasz_hinge",
    "lovasz_softmax",
    "matthews",
    "poly_cross_entropy",
    "poly_focal",
    "soft_dice_semimetric",
    "surface",
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
