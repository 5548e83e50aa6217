"""The consistency term of CoactSeg and HyTver: the two single-visit heads must differ where a lesion is new."""

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError


def visit_consistency(baseline: Tensor, followup: Tensor, labels: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of p_baseline² plus mean of (1 - p_followup)² over the new-lesion voxels of the whole batch.

    On a new lesion the baseline head should predict background and the follow-up head lesion. HyTver adds the term from
    step 100 of 250 on, CoactSeg from step 10 000 of 20 000. Computed in float32, without waiting for the device.

    Args:
        baseline: Logits (B, C, *space) of the baseline head: one channel (sigmoid), or background first (softmax).
        followup: Logits of the follow-up head, of the same shape.
        labels: (B, *space) or (B, 1, *space), new lesion where not 0.
        valid: Like labels, 0 where a voxel is masked; None: no voxel is.

    Returns:
        A scalar; without a new lesion 0 with gradient 0 (the released code gives NaN).

    Raises:
        UsageError: The shapes do not fit.

    Source: CoactSeg (Wu 2023); `loss_reg_pseudo` in its code and in HyTver's.
    """
    if baseline.shape != followup.shape:
        raise UsageError(f"logits of baseline {tuple(baseline.shape)} and follow-up {tuple(followup.shape)} differ")
    new = _flat(labels, baseline, "labels") != 0
    if valid is not None:
        new = new & (_flat(valid, baseline, "valid") != 0)
    count = new.sum().clamp_min(1)
    at_baseline = _lesion_logit(baseline, new).sigmoid().square()
    at_followup = (-_lesion_logit(followup, new)).sigmoid().square()
    return torch.where(new, at_baseline + at_followup, 0).sum() / count


def _flat(mask: Tensor, logits: Tensor, name: str) -> Tensor:
    """(B, *space), from that or from (B, 1, *space)."""
    space = (logits.shape[0], *logits.shape[2:])
    if tuple(mask.shape) not in (space, (space[0], 1, *space[1:])):
        raise UsageError(f"{name} {tuple(mask.shape)} don't fit logits {tuple(logits.shape)}; expected {space}")
    return mask.reshape(space)


def _lesion_logit(logits: Tensor, new: Tensor) -> Tensor:
    """(B, *space): the logit whose sigmoid is the lesion probability; other voxels do not influence the gradient."""
    x = torch.where(new[:, None], logits.float(), 0)
    if x.shape[1] == 1:
        return x[:, 0]
    return x[:, 1:].logsumexp(1) - x[:, 0]
