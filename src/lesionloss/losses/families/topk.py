"""Losses that look at the hardest voxels only. The choice of voxels has no gradient."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from lesionloss.core.ranges import Percent
from lesionloss.losses.input_checks import may_look
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


def share_of(k: float, n: Tensor) -> Tensor:
    """⌈k n / 100⌉ as whole numbers, exact also where k is none; k counts in millionths of a percent."""
    whole = n.long() * max(1, round(k * 10**6))  # no float64, which MPS lacks
    return -torch.div(-whole, 10**8, rounding_mode="floor")


@loss("topk_cross_entropy", source="Wu 2016; Hosseini 2024")
def topk_cross_entropy(v: Voxels, *, k: Percent = 10.0) -> Tensor:
    """Top-k cross-entropy: the mean of the k percent largest cross-entropies of each image.

    Formula: mean of the max(1, ⌈k n / 100⌉) largest ce of the image; with weights (of voxels or classes), their
        weighted mean
    k: percent of the valid voxels that count
    Limits: k=100 is cross_entropy.
    Empty: no special case for images without lesions.
    Released: other code ranks the voxels of the whole batch together, lets masked voxels into the percentage, and
        gives NaN when the number of voxels rounds to 0.
    Example: topk_cross_entropy(k=10)
    """
    v = v.of_this_process()
    kept, alike = share_of(k, v.valid_voxels).clamp_min(1), v.weight is None and v.class_weights is None
    if may_look(v.logits, v.labels) and not v.soft and alike:
        return _listed_sums(v, kept.int().tolist()) / kept.to(v.logits.dtype)
    ce = v.per_voxel(v.cross_entropy)
    if v.valid is not None:
        ce = torch.where(v.valid, ce, -1.0)  # below every cross-entropy, so never among the largest
    rows = v.image_rows(ce)
    most = max(1, int(share_of(k, torch.tensor(rows.shape[1]))))
    ranked = rows.topk(most, dim=1)
    chosen = torch.arange(most, device=rows.device) < kept[:, None]
    if alike:
        return torch.where(chosen, ranked.values.clamp_min(0), 0.0).sum(1) / kept.to(rows.dtype)
    own = 1.0 if v.weight is None else v.weight
    values, weights = own * v.per_voxel(v.weigh(v.cross_entropy)), own * v.voxel_weights
    chosen = chosen & (ranked.values >= 0)
    sums = [torch.where(chosen, v.image_rows(x).gather(1, ranked.indices), 0.0).sum(1) for x in (values, weights)]
    return sums[0] / torch.where(sums[1] > 0, sums[1], 1.0)


def _listed_sums(v: Voxels, counts: list[int]) -> Tensor:
    """Σ of the largest cross-entropies of each image, (I,), `counts` of each; for the CPU.

    Only the largest are computed for autograd. Which they are is known by the logit of the wrong class, if there is
    only one.
    """
    logits = v.logits.detach()
    if logits.shape[1] == 1:
        scores = torch.where(v.labels > 0, -logits[:, 0], logits[:, 0])
    else:
        scores = logits.logsumexp(1) - logits.gather(1, v.labels[:, None].long())[:, 0]
    if v.valid is not None:
        scores = scores.masked_fill(~v.valid, -torch.inf)
    flat = v.image_rows(torch.arange(v.labels.numel()).view(v.labels.shape)) if v.options.pooled else None
    sums = []
    for image, (row, count) in enumerate(zip(v.image_rows(scores).numpy(), counts, strict=True)):
        at = torch.from_numpy(_largest(row, count))
        where = at + image * len(row) if flat is None else flat[image][at]
        z, numbers = v.logits_at(where), v.labels.reshape(-1)[where].long()
        if z.shape[1] == 1:
            ce = softplus(torch.where(numbers > 0, -z[:, 0], z[:, 0]), threshold=40.0)
        else:
            ce = torch.nn.functional.cross_entropy(z, numbers, reduction="none")
        sums.append(ce.sum())
    return torch.stack(sums)


def _largest(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Where the `count` largest of (V,) scores are; -inf is never among them. Of equal ones the first."""
    # NumPy partitions with vector instructions, twenty times as quickly as torch ranks.
    edge = np.partition(scores, scores.size - count)[scores.size - count]
    above = np.flatnonzero(scores > edge)
    equal = np.flatnonzero(scores == edge)[: count - above.size] if edge > -np.inf else above[:0]
    return np.concatenate([above, equal])


@loss("topk_dice", source="Hosseini 2024, eq. 2-7")
def topk_dice(v: Voxels, *, k: Percent = 50.0) -> Tensor:
    """Top-k Dice: squared Dice that ignores the easiest foreground voxels.

    Formula: squared Dice over all voxels but the easiest: of the N_c voxels of a class the ⌈k N_c / 100⌉ with the
        lowest p stay
    k: percent of the voxels of a class that stay (K in the paper: 50, for MS lesions 30)
    Limits: k=100 is dice(squared=True).
    Empty: 0 for an empty prediction, about 1 with false positives.
    Released: there is no released code. As printed, K=100 is undefined and one voxel more than meant stays; ties
        are broken by order here.
    Example: topk_dice(k=30)
    """
    v = v.of_this_process()
    poison = v.refuse_parts("topk_dice ranks the voxels of a class")
    if may_look(v.logits, v.labels) and not v.soft and not v.options.average_background and v.weight is None:
        return _of_lesions(v, k)
    first = 0 if v.options.average_background else 1
    return torch.stack([_without_easiest(v, number, k) for number in range(first, v.classes)], dim=1) + poison


def _of_lesions(v: Voxels, k: float) -> Tensor:
    """Top-k Dice of the lesion classes, (I, K-1), from a list of the lesion voxels; for the CPU."""
    where, logits = v.lesions
    number = v.labels.reshape(-1)[where].long()
    p, q = _right_and_wrong(logits, number)
    row = torch.div(where, v.labels.shape[1], rounding_mode="floor")
    group = v.classes * (row % v.groups if v.options.pooled else row) + number
    size = v.classes * len(v.n)
    kept = torch.from_numpy(_hardest(p.detach().numpy(), group.numpy(), size, k))
    # In double precision, because index_add goes one by one.
    listed = torch.stack([p, q.square()])[:, kept].double()
    sums = torch.zeros((2, size), dtype=torch.float64).index_add(1, group[kept], listed)
    tp, fn = sums.view(2, -1, v.classes)[:, :, 1:].to(p.dtype).unbind(0)
    errors = (v.counts(sharpen=2.0).fp + fn) / 2
    return errors / (tp + errors + v.eps)


def _right_and_wrong(logits: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of a voxel's own class and of the others; logits (N, C), number (N,)."""
    if logits.shape[1] == 1:
        z = torch.where(number > 0, logits[:, 0], -logits[:, 0])
        return torch.sigmoid(z), torch.sigmoid(-z)
    p = torch.softmax(logits, dim=1).gather(1, number[:, None])[:, 0]
    return p, 1 - p


def _hardest(p: npt.NDArray[Any], group: npt.NDArray[np.int64], groups: int, k: float) -> npt.NDArray[np.int64]:
    """Which of the listed voxels are among the k percent with the lowest p of their group, the first of equal ones."""
    order = np.lexsort((p, group))  # stable
    sizes = np.bincount(group, minlength=groups)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[rank < np.repeat(share_of(k, torch.from_numpy(sizes)).numpy(), sizes)]


def _without_easiest(v: Voxels, number: int, k: float) -> Tensor:
    """Squared Dice of one class, (I,), over all voxels but its easiest."""
    p, t = v.image_rows(v.p[:, number]), v.image_rows(v.onehot[:, number])
    held = t > 0
    order = torch.where(held, p.detach(), torch.inf).sort(dim=1, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(p.shape[1], device=p.device).expand_as(order))
    in_sums = ~(held & (rank >= share_of(k, t.sum(1, keepdim=True))))
    if v.valid is not None:
        in_sums = in_sums & v.image_rows(v.valid)
    counted = in_sums if v.weight is None else torch.where(in_sums, v.image_rows(v.weight), 0.0)
    errors = (counted * (p - t).square()).sum(1) / 2
    tp = (counted * p * t).sum(1)
    return errors / (tp + errors + v.eps)
