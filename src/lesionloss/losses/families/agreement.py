"""Agreement of masks beside the Tversky family: Matthews correlation, and a Dice that is made for soft labels."""

import torch
from torch import Tensor

from lesionloss.losses.index import shortfall
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


@loss("matthews", source="Abhishek & Hamarneh 2021, eq. 3-5")
def matthews(v: Voxels) -> Tensor:
    """Matthews: correlation of prediction and reference, which counts correct background too.

    Formula: 1 - (TP·TN - FP·FN) / √((TP+FP) (TP+FN) (TN+FP) (TN+FN)), with TP + s for TP and TN + s for TN
    Limits: where background is unlimited, 1 - √(precision · recall).
    Empty: 0 for an empty prediction, about 1 with false positives.
    Released: the authors add 1e-7 under the root and set the loss to 0 where FP = FN = 0, so in images without lesions
        it jumps from 0 to 1 with the first false positive.
    Example: matthews
    """
    c = v.counts()
    tp, tn, errors = c.tp + v.eps, c.tn + v.eps, c.fp + c.fn
    right, wrong = tp * tn, c.fp * c.fn
    root = ((tp + c.fp) * (tn + c.fn)).sqrt() * ((tp + c.fn) * (tn + c.fp)).sqrt()
    # 1 - x as (1 - x²) / (1 + x), without a difference of large numbers; but not where x is nearly -1.
    square = (errors / root) * (right / root) + (wrong / root) * ((tp + tn) / root)
    score = (right - wrong) / root
    return torch.where(score > 0, (tp + tn + errors) * square / (1 + score.clamp_min(0)), 1 - score)


@loss("soft_dice_semimetric", source="Wang 2023 (Dice semimetric losses)")
def soft_dice_semimetric(v: Voxels) -> Tensor:
    """Soft Dice semimetric: Dice for soft labels, least where the probability is the label.

    Formula: Σ |p - t| / (Σ p + Σ t + 2s)
    Limits: for hard labels it is dice.
    Empty: 0 for an empty prediction, about 1 with false positives.
    Soft labels: 0 at p = t, and nowhere else.
    Released: the authors' code has TP = (Σ p + Σ t - Σ |p - t|) / 2 in Dice, which is this.
    Example: soft_dice_semimetric
    """
    c = v.counts()
    if not v.soft:
        return shortfall(c, fp=0.5, fn=0.5)
    first = 0 if v.options.average_background else 1
    errors = (v.p[:, first:] - v.onehot[:, first:]).abs()
    if v.valid is not None:
        errors = errors * v.valid[:, None]
    return v.total(errors) / (2 * c.tp + c.fp + c.fn + 2 * v.eps)
