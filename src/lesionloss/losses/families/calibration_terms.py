"""Terms of calibration, to be added to a loss: "dice_ce + 0.1*logit_margin". Alone they segment nothing."""

import torch
from torch import Tensor

from lesionloss.core.ranges import Positive, Weight
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("logit_margin", source="Murugesan 2023 and Liu 2022 (margin-based label smoothing)")
def logit_margin(v: Voxels, *, margin: Weight = 10.0) -> Tensor:
    """Logit margin: a penalty on logits that are further apart than a margin, whatever the reference.

    Formula: mean Σ_c max(0, max_k z_k - z_c - margin), z = logits; a single logit z stands for the classes (0, z)
    margin: distance of logits that costs nothing (m); a p of 0.99995 is a distance of 10
    Limits: 0 where no two logits are further apart than the margin. A term, not a loss: add it to one, with λ as its
        weight; the papers have 0.1 beside cross_entropy.
    Empty: no special case for images without lesions.
    Released: the authors' code averages over classes, where the paper has their sum.
    Example: cross_entropy + 0.1*logit_margin(margin=5)
    """
    z = v.logits
    apart = z.abs() - margin if z.shape[1] == 1 else z.amax(1, keepdim=True) - z - margin
    return v.mean(torch.relu(apart).sum(1, keepdim=True))


@loss("calibration_error", source="Barfoot 2024 (mL1-ACE), hard bins")
def calibration_error(v: Voxels, *, bins: Positive = 20) -> Tensor:
    """Calibration error: mean over bins of the distance between predicted and observed frequency.

    Formula: mean over the bins that hold voxels of |mean p - mean t|, per class; bins of equal width from 0 to 1
    bins: number of bins (M)
    Limits: bins=1 is the difference of predicted and true volume over n. A term, not a loss: add it to one; the
        authors add it to dice + cross_entropy with equal weights.
    Empty: the mean over bins of their mean p: 0 for an empty prediction.
    Released: the authors' code averages over class 0 too (here: average_background=True).
    Example: dice_ce + calibration_error
    """
    first = 0 if v.options.average_background else 1
    p, t = v.p[:, first:], v.onehot[:, first:]
    number = (p.detach() * bins).long().clamp(0, bins - 1)
    weight = torch.ones_like(p) if v.valid is None else v.valid[:, None].to(p.dtype).expand_as(p)
    weight = weight if v.weight is None else v.weight[:, None].expand_as(p)
    sums = [_bin_sums(v, x, number, bins) for x in (weight, weight * (p - t))]
    filled = sums[0] > 0
    gaps = sums[1].abs() / torch.where(filled, sums[0], 1.0)
    return gaps.sum(2) / filled.sum(2).clamp_min(1)


def _bin_sums(v: Voxels, x: Tensor, number: Tensor, bins: int) -> Tensor:
    """Σ of x (R, classes, V) over the voxels of each bin, (I, classes, bins)."""
    return v.pool(x.new_zeros((*x.shape[:2], bins)).scatter_add(2, number, x))
