"""Names for sums of other losses. An alias has the hyperparameters of its parts."""

from lesionloss.losses.families.overlap import dice
from lesionloss.losses.families.topk import topk_cross_entropy, topk_dice
from lesionloss.losses.families.voxelwise import cross_entropy, focal
from lesionloss.losses.registry import alias

dice_ce = alias(
    "dice_ce",
    (dice, cross_entropy),
    title="Dice + cross-entropy: the usual loss of segmentation networks.",
    source="Cabezas & Diez 2024 (mixed); HyTver 2025 (DiceCE)",
)
dice_focal = alias(
    "dice_focal",
    (dice, focal),
    title="Dice + focal: overlap, and cross-entropy of hard voxels.",
    source="HyTver 2025 (FocalDice); Hosseini 2024",
)
dice_topk = alias(
    "dice_topk",
    (dice, topk_cross_entropy),
    title="Dice + top-k cross-entropy: overlap, and cross-entropy of the hardest voxels.",
    source="Hosseini 2024",
)
ce_topk_dice = alias(
    "ce_topk_dice",
    (cross_entropy, topk_dice),
    title="Cross-entropy + top-k Dice: the loss that Hosseini proposes (k=30 for MS lesions).",
    source="Hosseini 2024",
)
