"""Losses that look at the hardest voxels only. The choice of voxels has no gradient."""

from typing import Any

import numpy as np
import numpy.typing as npt
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
    listed = may_look(v.logits) and not v.soft
    if listed and v.classes == 2:
        margins = v.logits[:, 0] if v.valid is None else torch.where(v.valid, v.logits[:, 0], torch.nan)
        flips = v.image_rows((v.labels > 0).to(torch.uint8))
        sums: Tensor = _TopOfMargins.apply(v.image_rows(margins), flips, kept.int().tolist())  # type: ignore[no-untyped-call]
        return sums / kept.to(v.logits.dtype)
    ce = v.per_voxel(v.cross_entropy)
    if v.valid is not None:
        ce = torch.where(v.valid, ce, -1.0)  # below every cross-entropy, so never among the largest
    rows = v.image_rows(ce)
    if listed:
        tops = [row.index_select(0, _top(row, count)).clamp_min(0) for row, count in zip(rows, kept.int(), strict=True)]
        return torch.stack([top.sum() for top in tops]) / kept.to(rows.dtype)
    most = max(1, int(share_of(k, torch.tensor(rows.shape[1]))))
    largest = rows.topk(most, dim=1).values.clamp_min(0)
    chosen = torch.arange(most, device=rows.device) < kept[:, None]
    return torch.where(chosen, largest, 0.0).sum(1) / kept.to(rows.dtype)


class _TopOfMargins(torch.autograd.Function):
    """Σ cross-entropy of the voxels that are most wrong, (R,), from one logit per voxel.

    logits (R, V), NaN where masked; labels (R, V): 1 where the lesion is right; counts: how many voxels of each row.
    Cross-entropy rises with the logit of the wrong class, so logits are ranked and few logarithms taken.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, counts: list[int]) -> Tensor:
        chosen, sums = [], []
        for row, count in enumerate(counts):
            margin = logits[row].clone()
            lesions = positions(labels[row])
            margin.index_copy_(0, lesions, -margin.index_select(0, lesions))
            at = _top(torch.nan_to_num_(margin, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf), count)
            chosen.append(at.to(torch.int32) if logits.shape[1] < 2**31 else at)
            sums.append(-logsigmoid(-margin.index_select(0, at)).sum())
        ctx.save_for_backward(logits, labels, *chosen)
        return torch.stack(sums)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, *chosen = ctx.saved_tensors
        pulls = []
        for row, (at, weight) in enumerate(zip(chosen, weights, strict=True)):
            sign = 1 - 2 * labels[row][at.long()].to(logits.dtype)
            pulls.append(sign * torch.sigmoid(sign * logits[row][at.long()]) * weight)
        if torch.is_grad_enabled():  # to be differentiated again
            rows = [torch.zeros_like(logits[0]).index_put((at.long(),), x) for at, x in zip(chosen, pulls, strict=True)]
            return torch.stack(rows), None, None
        out = torch.zeros_like(logits)
        for row, (at, pull) in enumerate(zip(chosen, pulls, strict=True)):
            out[row].index_copy_(0, at.long(), pull)
        return out, None, None


STRIDE = 16  # one number of so many makes the sample that says which are worth ranking
WORTH_A_SAMPLE = 65_536  # numbers


def _top(row: Tensor, kept: int | Tensor) -> Tensor:
    """Where the `kept` largest of a row (V,) are, in no order; -inf is never among them. Of equal ones the first."""
    # NumPy selects with vector instructions, twenty times as quickly as torch ranks.
    scores, count = row.detach().numpy(), int(kept)
    places = _worth_ranking(scores, count)
    values = scores if places is None else scores[places]
    edge = np.partition(values, values.size - count)[values.size - count]
    above = np.flatnonzero(values > edge)
    equal = np.flatnonzero(values == edge)[: count - above.size] if edge > -np.inf else above[:0]
    found = np.concatenate([above, equal])
    return torch.from_numpy(found if places is None else places[found])


def _worth_ranking(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64] | None:
    """Where the scores are that a sample says may be among the largest; None if that can't be told."""
    sample = scores[::STRIDE]
    most = count // STRIDE + count // (4 * STRIDE) + 16
    if scores.size < WORTH_A_SAMPLE or most >= sample.size:
        return None
    places = np.flatnonzero(scores >= np.partition(sample, sample.size - most)[sample.size - most])
    return places if count <= places.size < scores.size else None


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
    rows = places // v.labels.shape[1]
    number = v.labels.reshape(-1)[places].long()
    p, miss = _right_and_wrong(_logits_at(v.logits, places, rows), number)
    group = number + v.classes * (rows % v.groups if v.reading.pooled else rows)
    kept = _hardest(p.detach(), group, images * v.classes, k)
    zeros = torch.zeros(images * v.classes, dtype=torch.float64)
    # In double precision, because index_add goes one by one.
    tp, misses = (zeros.index_add(0, group[kept], x[kept].double()) for x in (p, miss.square()))
    tp, misses = (x.view(images, v.classes)[:, first:].to(v.logits.dtype) for x in (tp, misses))
    errors = (v.counts(sharpen=2.0).fp + misses) / 2
    return errors / (tp + errors + v.eps)


def _logits_at(logits: Tensor, places: Tensor, rows: Tensor) -> Tensor:
    """(N, C) of logits (R, C, V), at places in the flattened labels."""
    channels, voxels = logits.shape[1:]
    at = (places + rows * (channels - 1) * voxels)[:, None] + torch.arange(channels) * voxels
    return logits.reshape(-1).index_select(0, at.view(-1)).view(-1, channels)


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
