"""The few lesion voxels of an image, with every class written out: sums and gradient."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    from lesionloss.losses.kernels.plan import Plan


@dataclass(frozen=True)
class Found:
    """Where the lesion voxels of a batch are."""

    where: Tensor  # (n,) sorted positions in the flat labels
    low: int  # no label is below this
    high: int  # the largest label, or 0


def find_lesions(labels: Tensor) -> Found:
    """All voxels whose label is not 0, in the labels (R, V) of a batch."""
    flat = labels.detach().contiguous().view(-1)
    marks = flat if flat.element_size() == 1 else flat != 0
    if marks.numel() % 8 or marks.storage_offset() % 8:
        where = np.flatnonzero(marks.numpy())
        return found_at(where, flat.numpy()[where])
    # Eight labels at a time: nearly all words are 0.
    words = marks.view(torch.int64).numpy()
    at = np.flatnonzero(words != 0)
    taken = words.take(at).view(marks.numpy().dtype)
    inside = np.flatnonzero(taken != 0)
    before = 8 * at - np.arange(0, 8 * len(at), 8)
    where = inside + before.take(inside >> 3)
    return found_at(where, taken if marks is flat else flat.numpy()[where])


def found_at(where: npt.NDArray[np.int64], labels: npt.NDArray[Any]) -> Found:
    """Positions, and labels among which are all those that are not 0."""
    return Found(torch.from_numpy(where), int(labels.min(initial=0)), int(labels.max(initial=0)))


def places(where: Tensor, channels: int, voxels: int) -> Tensor:
    """(C, n): where the logits of listed voxels are in the flat batch (R, C, V)."""
    row = torch.div(where, voxels, rounding_mode="floor")
    return where + (row * (channels - 1) + torch.arange(channels, device=where.device)[:, None]) * voxels


@dataclass(frozen=True)
class LesionVoxels:
    """Of any images; n is their number. Nothing here is subtracted from 1, so that sure voxels keep their digits."""

    p: Tensor  # (K, n)
    is_true: Tensor  # (K, n) bool
    q: Tensor  # (n,): 1 - p of the true class
    ce: Tensor  # (n,)


def lesion_voxels(logits: Tensor, labels: Tensor) -> LesionVoxels:
    """From logits (C, n) and class numbers (n,), all above 0."""
    channels = logits.shape[0]
    numbers = torch.arange(max(2, channels), device=labels.device)[:, None]
    is_true = labels[None] == numbers
    if channels == 1:
        p = torch.sigmoid(torch.cat([-logits, logits]))
        return LesionVoxels(p, is_true, p[0], -logsigmoid(logits[0]))
    log_p = torch.log_softmax(logits, dim=0)
    p = log_p.exp()
    q = p.masked_fill(is_true, 0.0).sum(0)
    far = -log_p.masked_fill(~is_true, 0.0).sum(0)
    return LesionVoxels(p, is_true, q, torch.where(q < 0.5, -torch.log1p(-q), far))


def lesion_columns(voxels: LesionVoxels, plan: "Plan") -> Tensor:
    """What each voxel adds to the results of its image, (columns, n)."""
    p, t, q = voxels.p, voxels.is_true, voxels.q
    zero = q.new_zeros(())
    parts = []
    for sharpen in plan.sharpens:
        miss = q if sharpen == 1 else q.pow(sharpen)
        alarm = p if sharpen == 1 else p.pow(sharpen)
        others = (1 - p) if p.shape[0] > 2 else p.flip(0)
        parts += [torch.where(t, p, zero), torch.where(t, zero, alarm), torch.where(t, miss, zero)]
        parts += [torch.where(t, zero, others)]
    for lesion, _ in plan.pairs:
        value = lesion.value(voxels.ce, q)
        parts += [value[None], torch.zeros_like(value)[None]]
    return torch.cat(parts) if parts else q.new_empty((0, len(q)))


def lesion_gradient(voxels: LesionVoxels, plan: "Plan", weights: Tensor) -> Tensor:
    """d(weights · row of results) / d logits, (C, n); weights (columns, n)."""
    p, t, q = voxels.p, voxels.is_true, voxels.q
    classes = p.shape[0]
    slope = torch.zeros_like(p)  # with respect to p, each class by itself
    column = 0
    for sharpen in plan.sharpens:
        tp, fp, fn, tn = weights[column : column + 4 * classes].view(4, classes, -1)
        if sharpen == 1:
            slope += torch.where(t, tp - fn, fp - tn)
        else:
            miss, alarm = sharpen * q.pow(sharpen - 1), sharpen * p.pow(sharpen - 1)
            slope += torch.where(t, tp - fn * miss, fp * alarm - tn)
        column += 4 * classes
    # Softmax gradients don't change when all slopes move together; at 0 for the surest class nothing cancels.
    slope -= torch.where(p == p.amax(0), slope, -torch.inf).amax(0)
    gradient = p * (slope - (slope * p).sum(0))
    for lesion, _ in plan.pairs:
        gradient += weights[column] * lesion.slope(voxels.ce, q) * torch.where(t, -q, p)
        column += 2
    return gradient[1:] if classes == 2 else gradient
