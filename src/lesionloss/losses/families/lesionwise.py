"""Losses that count lesions alike, however small they are.

A lesion is a connected component of one class of the reference; see `reference_maps`.
"""

import torch
from torch import Tensor

from lesionloss.core.ranges import Exponent, PositiveExponent, Share, Sharpness, Weight
from lesionloss.losses.families.overlap import dice
from lesionloss.losses.families.voxelwise import cross_entropy
from lesionloss.losses.index import shortfall, weighted
from lesionloss.losses.kernels.terms import Focal
from lesionloss.losses.lesion_sums import Lesions, all_members, lesions, weights_of
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Counts, Voxels

_WHOLE = "it counts lesions"


def _rows(v: Voxels, x: Tensor) -> Tensor:
    """Something of each image, (I, ...), for each row, (R, ...)."""
    return x.repeat(v.logits.shape[0] // x.shape[0], *[1] * (x.dim() - 1))


def _dice(v: Voxels, found: Lesions, fp: Tensor) -> Tensor:
    """Dice of each lesion with these false positives: (R, L, lesions)."""
    counts = Counts(found.sums((-found.ce).exp()), fp, found.sums(-torch.expm1(-found.ce)), fp)
    return shortfall(counts, fp=0.5, fn=0.5)


def _mixed(ce_share: float, ce: Tensor, overlap: Tensor) -> Tensor:
    return weighted(ce_share, ce, 1 - ce_share, overlap)


@loss("blob", source="Kofler 2023 (blob loss)", maps=("lesions",))
def blob(v: Voxels, *, main_share: Share = 0.5, ce_share: Share = 0.0) -> Tensor:
    """Blob: one criterion for the image, and for each lesion while the other lesions are masked.

    Formula: main_share·L + (1 - main_share) mean over lesions n of L_n, where L = ce_share·cross_entropy + (1 -
        ce_share)·dice, and L_n is L over all voxels but those of the other lesions of the class
    main_share: share of the criterion of the whole image (α; its sum with the rest is 1 here); 0.67 as quoted from it
    ce_share: share of the cross-entropy in the criterion; 0 is Dice alone
    Limits: main_share=1 is the criterion itself: dice, or cross_entropy with ce_share=1. With one lesion of each class,
        so is any main_share.
    Empty: without lesions of a class, L_n is L, so false positives cost as in the criterion.
    Lesions: those of each class are found by themselves, then classes are averaged. All false positives count for each
        lesion. The border of a patch and masked voxels cut lesions, and each part counts as one.
    Released: the authors' code sets masked logits to 0, a probability of one half, instead of leaving them out; images
        without lesions leave its mean.
    Example: blob(main_share=0.67, ce_share=0.5)
    """
    poison = v.refuse_parts(_WHOLE)
    overlap = v.class_mean(dice(v)) + poison
    main = _mixed(ce_share, cross_entropy(v), overlap) if ce_share > 0 else overlap
    if main_share == 1:
        return main
    found, counts = lesions(v, v.reference_map("lesions")), v.counts(average_background=False)
    whole = shortfall(counts, fp=0.5, fn=0.5)
    of_each = _dice(v, found, _rows(v, counts.fp)[..., None])
    if ce_share > 0:
        of_each = _mixed(ce_share, _masked_cross_entropy(v, found), of_each)
        whole = _mixed(ce_share, cross_entropy(v)[:, None], whole)
    return weighted(main_share, main, 1 - main_share, v.class_mean(found.mean(of_each, whole)))


def _masked_cross_entropy(v: Voxels, found: Lesions) -> Tensor:
    """For each lesion the mean cross-entropy over all voxels but other lesions of its class: (R, L, lesions)."""
    on_lesions, background = found.sums(found.ce), v.background_cross_entropy
    sums, sizes = (found.total(x) for x in (on_lesions, found.size))
    rest = background[:, None] + sums.sum(1, keepdim=True) - sums
    voxels = v.class_voxels[:, :1] + sizes.sum(1, keepdim=True) - sizes
    return (on_lesions + _rows(v, rest)[..., None]) / (found.size + _rows(v, voxels)[..., None]).clamp_min(v.eps)


@loss("component_dice", source="Jaus 2025 (CC-Metrics, CC-Dice); Bouteille 2025 (CC-DiceCE)", maps=("nearest_lesion",))
def component_dice(v: Voxels, *, ce_share: Share = 0.0) -> Tensor:
    """Component Dice: the mean of the Dice losses of the lesions, each in the region that is nearest to it.

    Formula: mean over lesions n of ce_share·CE_n + (1 - ce_share)·dice_n, over the voxels whose nearest lesion of the
        class is n (its Voronoi cell, by the distance in mm)
    ce_share: share of the cross-entropy, whose mean is that over the region; 0 is Dice alone
    Limits: with one lesion of each class, it is dice, or cross_entropy with ce_share=1. CC-DiceCE is dice_ce +
        2*component_dice(ce_share=0.5).
    Empty: without lesions of a class, the region is the whole image.
    Lesions: those of each class are found by themselves, then classes are averaged. A voxel as near to two lesions is
        of one of them. The border of a patch and masked voxels cut lesions, and each part counts as one; lesions beyond
        it are unknown, so regions at the border are larger than in the image.
    Released: CC-Metrics measures distances in voxels; here they are in mm.
    Example: component_dice + dice_ce
    """
    poison = v.refuse_parts(_WHOLE)
    nearest, own = v.reference_map("nearest_lesion"), v.lesion_classes
    regions = all_members(v, nearest)
    found = lesions(v, torch.where(own, nearest, 0), regions.table[-1])
    p = torch.sigmoid(v.logits) if v.logits.shape[1] == 1 else v.p[:, 1:]
    wrong = p * torch.where(own, 0.0, weights_of(v))
    of_each = _dice(v, found, regions.sums(regions.take(wrong)))
    whole = shortfall(v.counts(average_background=False), fp=0.5, fn=0.5)
    if ce_share > 0:
        weight = regions.take(weights_of(v))
        ce = regions.take(v.per_voxel(v.cross_entropy)[:, None].expand_as(nearest))
        of_each = _mixed(ce_share, regions.sums(weight * ce) / regions.sums(weight).clamp_min(v.eps), of_each)
        whole = _mixed(ce_share, cross_entropy(v)[:, None], whole)
    return found.mean(of_each, whole) + poison


@loss("inverse_weighted", source="Shirokikh 2020 (inverse weighting)", maps=("lesion_voxels",))
def inverse_weighted(
    v: Voxels,
    *,
    ce_share: Share = 1.0,
    gamma: Exponent = 0.0,
    sharpen: Sharpness = 1.0,
) -> Tensor:
    """Inverse weighted: voxels have weights by which each lesion counts as much as all background.

    Formula: ce_share·mean w q^gamma ce + (1 - ce_share)·dice_plus_plus(gamma=sharpen) with weights in TP, FP and FN;
        w = n / ((K + 1) m), m the number of voxels of the voxel's own lesion, or of the background; K lesions
    ce_share: share of the cross-entropy; 0 is Dice alone
    gamma: how strongly well-classified voxels are down-weighted in the cross-entropy (γ of focal)
    sharpen: power of the errors in Dice; 2 has squares in the denominator, as dice(squared=True)
    Limits: without lesions all weights are 1, so the default is cross_entropy. Of the paper's losses, iwBCE is the
        default, iwFL gamma=2, iwDL ce_share=0 with sharpen=2. The same weights as weight= of the call give any other
        loss, such as its iwASL with tversky.
    Empty: no special case for images without lesions.
    Lesions: of all classes; those that touch are two if they are of two classes. The border of a patch and masked
        voxels cut lesions, and each part counts as one.
    Released: the authors' code also limits the weights to the range from 1 to 200,000, or gives background the weight
        1; its focal loss has weights of lesion and background besides, its iwASL has squares in the denominator.
    Example: inverse_weighted(gamma=2)
    """
    poison = v.refuse_parts(_WHOLE)
    weighed = v.reweighted(_inverse_weights(v))
    lesion, background = weighed.term_sums(Focal(gamma), Focal(gamma))
    ce = (lesion + background) / weighed.n
    if ce_share == 1:
        return ce + poison
    return _mixed(ce_share, ce, v.class_mean(shortfall(weighed.counts(sharpen=sharpen), fp=0.5, fn=0.5))) + poison


def _inverse_weights(v: Voxels) -> Tensor:
    """(R, V): for each voxel n / ((K + 1) m)."""
    size, inside = v.reference_map("lesion_voxels").to(v.logits.dtype).sum(1), weights_of(v)[:, 0] > 0
    inverse = torch.where(size > 0, 1 / size.clamp_min(1.0), 0.0)
    lesion_count = v.pool((inverse * inside).sum(-1))
    of_background = v.pool(((size == 0) & inside).sum(-1)).to(inverse.dtype)
    scale = v.valid_voxels / (lesion_count + (of_background > 0)).clamp_min(1.0)
    background = _rows(v, 1 / of_background.clamp_min(1.0))[:, None]
    return torch.where(size > 0, inverse, background) * _rows(v, scale)[:, None]


@loss(
    "lesion_tversky",
    source="this package: a soft form of the lesion-wise F-beta score, such as the F1 of MSSEG (Commowick 2018)",
    maps=("lesions",),
)
def lesion_tversky(v: Voxels, *, fp: Weight = 0.5, fn: Weight = 0.5, power: PositiveExponent = 2.0) -> Tensor:
    """Lesion Tversky: Tversky index of lesions instead of voxels, for the lesion-wise F1 score.

    Formula: 1 - (TP + s) / (TP + fp·FP + fn·FN + s), where TP = Σ d and FN = Σ (1 - d) over lesions, d = (mean over the
        lesion's voxels of p^power)^(1/power) is how surely it is found, and FP = Σ p over background / mean lesion size
    fp: weight of false-positive lesions; fp = 1 / (1 + β²) and fn = β² / (1 + β²) give F-beta
    fn: weight of lesions that are not found
    power: from the mean probability of the lesion (1) towards its largest one (large numbers)
    Limits: if all lesions are single voxels, it is tversky. For predictions of 0 and 1 that hold all of a lesion or
        nothing, and false-positive lesions of mean size, it is 1 - F-beta of lesions; as power grows, a lesion is found
        if any voxel of it is.
    Empty: without lesions FP counts voxels: 0 for an empty prediction, about 1 with false positives.
    Lesions: those of each class are found by themselves, then classes are averaged. Voxels around a lesion count as
        parts of a false-positive lesion, so add a loss of voxels such as dice_ce. The border of a patch and masked
        voxels cut lesions, and each part counts as one.
    Example: lesion_tversky(fn=0.8, fp=0.2) + dice_ce
    """
    poison = v.refuse_parts(_WHOLE)
    found = lesions(v, v.reference_map("lesions"))
    held = found.size > 0
    largest = torch.where(held, found.members.largest(-found.ce), 0.0)
    relative = found.sums((power * (-found.ce - found.members.spread(largest))).exp())
    share = torch.where(held, relative / torch.where(held, found.size, 1.0), 1.0)  # of the largest one to its power
    log_found = largest + share.log() / power
    tp, fn_lesions = found.total(log_found.exp()), found.total(-torch.expm1(log_found))
    size = torch.where(found.count > 0, found.total(found.size) / found.count.clamp_min(1.0), 1.0)
    fp_lesions = v.counts(average_background=False).fp / size
    return shortfall(Counts(tp, fp_lesions, fn_lesions, fp_lesions), fp=fp, fn=fn) + poison
