"""Losses as released code computes them where it differs from its paper, to reproduce published numbers."""

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels

CLIP = 1e-3


@loss("hytver_released", source="HyTver 2025, released code as its training script calls it")
def hytver_released(v: Voxels) -> Tensor:
    """HyTver as released: in effect a penalty on predicted volume and the Tversky loss with its weights exchanged.

    Formula: ½ mean(-0.7 p̃ log t̃ + 0.3 (1 - p̃) log(1 - t̃)) - ½ (TP + 1) / (TP + 0.7·FP + 0.3·FN + 1), p̃ and t̃
        clipped to [0.001, 0.999]
    Limits: its first part is linear in p: 4.84 p in background voxels and 2.07 p in lesion voxels. Only for one lesion
        class, and always over the whole batch.
    Empty: about -0.5 for an empty prediction; its minimum is not 0.
    Released: this is the released code. Prediction and reference are exchanged in its call, and a minus is missing
        before the background term.
    Example: hytver_released
    """
    if v.classes != 2:
        raise UsageError(f"hytver_released takes one lesion class; got {v.classes - 1}")
    p, t = v.p[:, 1], v.onehot[:, 1]
    clipped, target = p.clamp(CLIP, 1 - CLIP), t.clamp(CLIP, 1 - CLIP)
    term = -0.7 * clipped * target.log() + 0.3 * (1 - clipped) * (1 - target).log()
    # The whole batch counts as one image, whatever the options; so every image gets the same value.
    inside = t.new_ones(())
    if v.valid is not None:
        inside = v.valid.to(t.dtype) if v.weight is None else v.weight
    counted = inside if v.class_weights is None else inside * v.voxel_weights
    n = torch.where(counted.sum() > 0, counted.sum(), 1.0) if counted.dim() else t.new_full((), t.numel())
    tp, fp, fn = (p * t * inside).sum(), (p * (1 - t) * inside).sum(), ((1 - p) * t * inside).sum()
    value = (term * counted).sum() / n / 2 - (tp + 1) / (tp + 0.7 * fp + 0.3 * fn + 1) / 2
    return value.expand(v.n.shape[0])
