"""Losses that look at the hardest voxels only. The choice of voxels has no gradient."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.hyperparameters import Percent
from lesionloss.kernels.lesions import positions
from lesionloss.registry import loss
from lesionloss.values import may_look
from lesionloss.voxels import Voxels


def share_of(k: float, n: Tensor) -> Tensor:
    """⌈k n / 100⌉, exact where k n / 100 is whole though k is not."""
    return torch.ceil(n.double() * k / 100 - 1e-9)


@loss("topk_cross_entropy", source="Wu 2016; Hosseini 2025")
def topk_cross_entropy(v: Voxels, *, k: Percent = 10.0) -> Tensor:
    """Top-k cross-entropy: the mean of the k percent largest cross-entropies of each image.

    Formula: mean of the max(1, ⌈k n / 100⌉) largest ce of the image
    k: percent of the valid voxels that count
    Limits: k=100 is cross_entropy.
    Empty: an ordinary image, all of it background.
    Released: other code ranks the voxels of the whole batch together, lets masked voxels into the percentage, and
        gives NaN when the number of voxels rounds to 0.
    Example: topk_cross_entropy(k=10)
    """
    kept = share_of(k, v.n).clamp_min(1)
    cross_entropy: Callable[[Tensor], Tensor]
    if v.classes > 2 or v.soft:
        scores, cross_entropy = v.per_voxel(v.cross_entropy), _of_itself
    else:  # one logit per voxel: cross-entropy rises with the odds of being wrong, so those are ranked
        scores, cross_entropy = torch.where(v.labels > 0, -v.logits[:, 0], v.logits[:, 0]), _of_odds
    if v.valid is not None:
        scores = torch.where(v.valid, scores, -torch.inf)
    rows = v.image_rows(scores)
    if may_look(rows):
        return torch.stack([cross_entropy(_top(*pair)).sum() for pair in zip(rows, kept.int(), strict=True)]) / kept.to(
            rows
        )
    most = max(1, int(share_of(k, torch.tensor(rows.shape[1]))))
    largest = rows.topk(most, dim=1).values
    chosen = (torch.arange(most, device=rows.device) < kept[:, None]) & (largest > -torch.inf)
    return torch.where(chosen, cross_entropy(torch.where(chosen, largest, 0.0)), 0.0).sum(1) / kept.to(rows)


def _of_itself(ce: Tensor) -> Tensor:
    return ce


def _of_odds(z: Tensor) -> Tensor:
    return -logsigmoid(-z)


def _top(row: Tensor, kept: Tensor) -> Tensor:
    """The `kept` largest of a row (V,), in no order; fewer if some are -inf. Of equal ones the first."""
    # NumPy selects with vector instructions, twenty times as quickly as torch ranks.
    scores, count = row.detach().numpy(), int(kept)
    edge = np.partition(scores, scores.size - count)[scores.size - count]
    above = np.flatnonzero(scores > edge)
    equal = np.flatnonzero(scores == edge)[: count - above.size] if edge > -np.inf else above[:0]
    return row[torch.from_numpy(np.concatenate([above, equal]))]


@loss("topk_dice", source="Hosseini 2025, eq. 2-7")
def topk_dice(v: Voxels, *, k: Percent = 50.0) -> Tensor:
    """Top-k Dice: squared Dice that forgets the lesion voxels which are found most easily.

    Formula: squared Dice over all voxels but the easiest: of the N_c voxels of a class the ⌈k N_c / 100⌉ with the
        lowest p stay
    k: percent of the voxels of a class that stay (K in the paper: 50, for MS lesions 30)
    Limits: k=100 is dice(squared=True).
    Empty: finding nothing costs 0, a false alarm about 1.
    Released: there is no released code. As printed, K=100 is undefined and one voxel more than meant stays; ties
        are broken by order here.
    Example: topk_dice(k=30)
    """
    v.refuse_parts("topk_dice ranks the voxels of a class")
    if may_look(v.logits) and not v.soft:
        return _of_listed_voxels(v, k)
    first = 0 if v.reading.background else 1
    values = [_without_easiest(v, number, k) for number in range(first, v.classes)]
    return torch.stack(values, dim=1)


def _of_listed_voxels(v: Voxels, k: float) -> Tensor:
    """Top-k Dice, (I, classes), from a list of the voxels that are ranked: quick where lesions are rare."""
    images, first = v.n.shape[0], 0 if v.reading.background else 1
    ranked = v.labels > 0 if first else (torch.ones_like(v.labels) if v.valid is None else v.valid)
    places = positions(ranked.to(torch.uint8))
    rows, columns = places // v.labels.shape[1], places % v.labels.shape[1]
    number = v.labels.reshape(-1)[places].long()
    p, miss = _right_and_wrong(v.logits.transpose(1, 2)[rows, columns], number)
    group = number + v.classes * (rows % v.groups if v.reading.pooled else rows)
    kept = _hardest(p.detach(), group, images * v.classes, k)
    zeros = torch.zeros(images * v.classes, dtype=torch.float64)
    # In double precision, because index_add goes one by one.
    tp, misses = (zeros.index_add(0, group[kept], x[kept].double()) for x in (p, miss.square()))
    tp, misses = (x.view(images, v.classes)[:, first:].to(v.logits.dtype) for x in (tp, misses))
    errors = (v.counts(sharpen=2.0).fp + misses) / 2
    return errors / (tp + errors + v.eps)


def _right_and_wrong(logits: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of a voxel's own class and of the others; logits (N, C), number (N,)."""
    if logits.shape[1] == 1:
        z = torch.where(number > 0, logits[:, 0], -logits[:, 0])
        return torch.sigmoid(z), torch.sigmoid(-z)
    p = torch.softmax(logits, dim=1).gather(1, number[:, None])[:, 0]
    return p, 1 - p


def _hardest(p: Tensor, group: Tensor, groups: int, k: float) -> Tensor:
    """Which of the listed voxels are among the k percent with the lowest p of their group, the first of equal ones."""
    order = p.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    sizes = torch.bincount(group, minlength=groups)
    rank = torch.arange(p.shape[0]) - (sizes.cumsum(0) - sizes)[group[order]]
    return order[rank < share_of(k, sizes)[group[order]]]


def _without_easiest(v: Voxels, number: int, k: float) -> Tensor:
    """Squared Dice of one class, (I,), over all voxels but its easiest."""
    p, t = v.image_rows(v.p[:, number]), v.image_rows(v.onehot[:, number])
    held = t > 0
    order = torch.where(held, p.detach(), torch.inf).sort(dim=1, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(p.shape[1], device=p.device).expand_as(order))
    in_sums = ~(held & (rank >= share_of(k, t.sum(1, keepdim=True))))
    if v.valid is not None:
        in_sums = in_sums & v.image_rows(v.valid)
    errors = torch.where(in_sums, (p - t).square(), 0.0).sum(1) / 2
    tp = torch.where(in_sums, p * t, 0.0).sum(1)
    return errors / (tp + errors + v.eps)
