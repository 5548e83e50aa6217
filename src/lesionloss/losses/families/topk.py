"""Losses that look at the hardest voxels only. The choice of voxels has no gradient."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.core.ranges import Percent
from lesionloss.losses.input_checks import may_look
from lesionloss.losses.kernels.lesions import find_lesions
from lesionloss.losses.kernels.sharing import side_by_side
from lesionloss.losses.registry import loss
from lesionloss.losses.voxels import Voxels


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
    if may_look(v.logits) and not v.soft:
        return _listed_sums(v, kept.int().tolist()) / kept.to(v.logits.dtype)
    ce = v.per_voxel(v.cross_entropy)
    if v.valid is not None:
        ce = torch.where(v.valid, ce, -1.0)  # below every cross-entropy, so never among the largest
    rows = v.image_rows(ce)
    most = max(1, int(share_of(k, torch.tensor(rows.shape[1]))))
    largest = rows.topk(most, dim=1).values.clamp_min(0)
    chosen = torch.arange(most, device=rows.device) < kept[:, None]
    return torch.where(chosen, largest, 0.0).sum(1) / kept.to(rows.dtype)


def _listed_sums(v: Voxels, counts: list[int]) -> Tensor:
    """Σ of the largest cross-entropies of each image, (I,), so many of each as `counts` says."""
    if v.logits.shape[1] > 1:
        return _top_of_classes(v.logits, v.labels, v.valid, counts)
    rows, labels = v.image_rows(v.logits[:, 0]), v.image_rows(v.labels)
    valid = None if v.valid is None else v.image_rows(v.valid)
    return _top_of_margins(rows, labels, valid, counts)


class _TopOfMargins(torch.autograd.Function):
    """Σ cross-entropy of the voxels that are most wrong, (I,), from one logit per voxel.

    logits, labels and valid (I, V), a row for each image; counts: how many voxels of each row. Cross-entropy rises with
    the logit of the wrong class, so logits are ranked and few logarithms taken.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, valid: Tensor | None, counts: list[int]) -> Tensor:
        margins = logits.detach().clone(memory_format=torch.contiguous_format)
        lesions = find_lesions(labels).where
        margins.view(-1).index_copy_(0, lesions, margins.view(-1).index_select(0, lesions).neg_())
        if valid is not None:
            margins.masked_fill_(~valid, -torch.inf)
        at, bounds = _tops(margins, counts)
        margin = margins.view(-1).index_select(0, at)
        ctx.save_for_backward(logits, labels, _gaps(at))
        ctx.sizes = np.diff(bounds)
        return _sums_between(-logsigmoid(-margin), bounds)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, gaps = ctx.saved_tensors
        at = _positions_of(gaps)
        is_lesion = torch.from_numpy(labels.reshape(-1).numpy()[at.numpy()] != 0)
        sign = 1 - 2 * is_lesion.to(logits.dtype)
        weight = weights.repeat_interleave(torch.from_numpy(ctx.sizes), output_size=len(at))
        pull = sign * torch.sigmoid(sign * logits.reshape(-1).index_select(0, at)) * weight
        return _scattered(pull, at, logits), None, None, None


class _TopOfClasses(torch.autograd.Function):
    """The same from logits (R, C, V), C > 2, labels and valid (R, V). One count: all rows are one image."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, valid: Tensor | None, counts: list[int]) -> Tensor:
        ce = torch.logsumexp(logits, dim=1) - logits.gather(1, labels[:, None].long())[:, 0]
        if valid is not None:
            ce.masked_fill_(~valid, -torch.inf)
        at, bounds = _tops(ce.view(len(counts), -1), counts)
        ctx.save_for_backward(logits, labels, _gaps(at))
        ctx.images = len(counts)
        return _sums_between(ce.view(-1).index_select(0, at), bounds)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, gaps = ctx.saved_tensors
        at, voxels = _positions_of(gaps), labels.shape[1]
        row = torch.div(at, voxels, rounding_mode="floor")
        number = labels.reshape(-1).index_select(0, at).long()
        places = (at + row * (logits.shape[1] - 1) * voxels) + torch.arange(logits.shape[1])[:, None] * voxels
        p = torch.softmax(logits.reshape(-1).index_select(0, places.view(-1)).view(places.shape), dim=0)
        true = torch.nn.functional.one_hot(number, logits.shape[1]).T
        pull = (p - true) * weights[row if ctx.images > 1 else torch.zeros_like(row)]
        return _scattered(pull.reshape(-1), places.view(-1), logits), None, None, None


# torch leaves `apply` without types.
_top_of_margins: Callable[[Tensor, Tensor, Tensor | None, list[int]], Tensor] = _TopOfMargins.apply
_top_of_classes: Callable[[Tensor, Tensor, Tensor | None, list[int]], Tensor] = _TopOfClasses.apply


def _scattered(values: Tensor, at: Tensor, like: Tensor) -> Tensor:
    flat = like.new_zeros(like.numel())
    scattered = flat.index_put((at,), values) if torch.is_grad_enabled() else flat.index_copy_(0, at, values)
    return scattered.view(like.shape)


def _tops(scores: Tensor, counts: list[int]) -> tuple[Tensor, list[int]]:
    """Sorted positions in the flat scores (I, V) of the largest of each row, and where each row begins in the list."""
    rows = side_by_side([partial(_top, row, count) for row, count in zip(scores.numpy(), counts, strict=True)])
    for number, row in enumerate(rows):
        row += number * scores.shape[1]
    return torch.from_numpy(np.concatenate(rows)), [0, *np.cumsum([len(row) for row in rows]).tolist()]


def _sums_between(values: Tensor, bounds: list[int]) -> Tensor:
    return torch.stack([values[low:high].sum() for low, high in pairwise(bounds)])


def _gaps(at: Tensor) -> Tensor:
    """Sorted positions as steps from one to the next: two bytes each, if there is no wide gap."""
    steps = np.diff(at.numpy(), prepend=0)
    small = steps.size == 0 or int(steps.max()) < 1 << 16
    return torch.from_numpy(steps.astype(np.uint16)) if small else at


def _positions_of(gaps: Tensor) -> Tensor:
    return gaps if gaps.dtype == torch.int64 else torch.from_numpy(np.cumsum(gaps.numpy(), dtype=np.int64))


STRIDE = 16  # one number of so many makes the sample that says which are worth ranking
WORTH_A_SAMPLE = 65_536  # numbers


def _top(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Where the `count` largest of (V,) scores are, sorted; -inf is never among them. Of equal ones the first."""
    # NumPy selects with vector instructions, twenty times as quickly as torch ranks.
    places = _worth_ranking(scores, count)
    values = scores if places is None else scores[places]
    edge = np.partition(values, values.size - count)[values.size - count]
    above = np.flatnonzero(values > edge)
    equal = np.flatnonzero(values == edge)[: count - above.size] if edge > -np.inf else above[:0]
    found = np.insert(above, np.searchsorted(above, equal), equal)
    return found if places is None else places[found]


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
    first = 0 if v.options.average_background else 1
    values = [_without_easiest(v, number, k) for number in range(first, v.classes)]
    return torch.stack(values, dim=1)


def _of_listed_voxels(v: Voxels, k: float) -> Tensor:
    """Top-k Dice, (I, classes), from a list of the voxels that are ranked: quick where lesions are rare."""
    images, first = v.n.shape[0], 0 if v.options.average_background else 1
    where, logits = v.lesions if first else _all_voxels(v)
    rows = where // v.labels.shape[1]
    number = v.labels.reshape(-1)[where].long()
    p, miss = _right_and_wrong(logits, number)
    group = number + v.classes * (rows % v.groups if v.options.pooled else rows)
    kept = _hardest(p.detach(), group, images * v.classes, k)
    # In double precision, because index_add goes one by one.
    listed = torch.stack([p, miss.square()])[:, kept].double()
    sums = torch.zeros((2, images * v.classes), dtype=torch.float64).index_add(1, group[kept], listed)
    tp, misses = sums.view(2, images, v.classes)[:, :, first:].to(v.logits.dtype).unbind(0)
    errors = (v.counts(sharpen=2.0).fp + misses) / 2
    return errors / (tp + errors + v.eps)


def _all_voxels(v: Voxels) -> tuple[Tensor, Tensor]:
    """As `Voxels.lesions`, but of all valid voxels."""
    where = torch.arange(v.labels.numel()) if v.valid is None else v.valid.view(-1).nonzero()[:, 0]
    return where, v.logits.transpose(1, 2).reshape(-1, v.logits.shape[1])[where]


def _right_and_wrong(logits: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of a voxel's own class and of the others; logits (N, C), number (N,)."""
    if logits.shape[1] == 1:
        z = torch.where(number > 0, logits[:, 0], -logits[:, 0])
        return torch.sigmoid(z), torch.sigmoid(-z)
    p = torch.softmax(logits, dim=1).gather(1, number[:, None])[:, 0]
    return p, 1 - p


def _hardest(p: Tensor, group: Tensor, groups: int, k: float) -> Tensor:
    """Which of the listed voxels are among the k percent with the lowest p of their group, the first of equal ones."""
    order = np.argsort(group.numpy(), kind="stable")
    sizes = torch.bincount(group, minlength=groups)
    members = np.split(order, np.cumsum(sizes.numpy())[:-1])
    ease, counts = p.numpy(), share_of(k, sizes).int().tolist()
    chosen = [some[_top(-ease[some], count)] for some, count in zip(members, counts, strict=True) if count]
    return torch.from_numpy(np.concatenate([order[:0], *chosen]))


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
