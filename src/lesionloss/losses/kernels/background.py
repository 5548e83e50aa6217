"""The background of more than two classes, in chunks that fit a cache: raw sums, and the gradient written once.

Kept for the backward pass are the probabilities, one number a logit: an exponential costs more than reading it again.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.losses.kernels.joint import JOINTLY_SURE, Row, any_wrong, sums, tail_sums
from lesionloss.losses.kernels.plan import Plan, raw_of
from lesionloss.losses.kernels.terms import CrossEntropy

CHUNK = 1 << 20  # numbers in a piece of work: it stays in the cache, and the calls cost little beside it
LOG2_E = math.log2(math.e)
MODERATE = 1e4  # logits whose product with LOG2_E is rounded by much less than 1
NEARLY_SURE = 0.98  # from there on, 1 - q has too few digits for its logarithm
TOGETHER = 8  # voxels that share a logarithm
OFTEN_WRONG = 0.3  # with a mean of q above that, so many together would be surely wrong


@dataclass(frozen=True)
class Image:
    """One row of a batch, without autograd."""

    logits: Tensor  # (C, V)
    valid: Tensor | None  # (V,) bool
    lesions: Tensor  # (n,) sorted positions of lesion voxels


@dataclass(frozen=True)
class Chunk:
    """Voxels start to stop of an image. p and q are 0 where a voxel is no background voxel."""

    start: int
    stop: int
    logits: Tensor  # (C, v)
    p: Tensor  # (K - 1, v): probabilities of the lesion classes
    q: Tensor  # (v,): their sum


def read_chunks(image: Image, kept: Tensor) -> Iterator[Chunk]:
    """Write the probabilities of an image into kept (C · V,), that of being any lesion in place of the background's.

    A chunk lies there in one piece: rows as far apart as whole volumes would fall upon the same lines of a cache.
    """
    edges = [*range(0, image.logits.shape[1], _step(image)), image.logits.shape[1]]
    bounds = torch.searchsorted(image.lesions, torch.tensor(edges)).tolist()
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        numbers = _numbers(image, kept, start, stop)
        _probabilities(image.logits[:, start:stop], numbers)
        if bounds[i] < bounds[i + 1]:
            numbers.index_fill_(1, image.lesions[bounds[i] : bounds[i + 1]] - start, 0.0)
        if image.valid is not None:
            numbers.mul_(image.valid[start:stop])
        yield _chunk(image, kept, start, stop)


def kept_chunks(image: Image, kept: Tensor) -> Iterator[Chunk]:
    """The same from what `read_chunks` has written."""
    voxels, step = image.logits.shape[1], _step(image)
    for start in range(0, voxels, step):
        yield _chunk(image, kept, start, min(start + step, voxels))


def _step(image: Image) -> int:
    return max(1, CHUNK // len(image.logits))


def _numbers(image: Image, kept: Tensor, start: int, stop: int) -> Tensor:
    channels = len(image.logits)
    return kept[channels * start : channels * stop].view(channels, -1)


def _chunk(image: Image, kept: Tensor, start: int, stop: int) -> Chunk:
    numbers = _numbers(image, kept, start, stop)
    return Chunk(start, stop, image.logits[:, start:stop], numbers[1:], numbers[0])


def _probabilities(logits: Tensor, out: Tensor) -> None:
    """q, then p of the lesion classes. q is their sum, not 1 - p of the background, and so exact where it is small."""
    largest = logits.amax(0)
    low, high = largest.aminmax()
    if max(-float(low), float(high)) < MODERATE:  # torch finds powers of two twice as quickly as those of e
        torch.add(largest.mul_(-LOG2_E), logits, alpha=LOG2_E, out=out).exp2_()
    else:
        torch.sub(logits, largest, out=out).exp_()
    q = out[1:].sum(0)
    total = out[0].add_(q)
    out[1:].div_(total)
    torch.div(q, total, out=out[0])


def _cross_entropy(chunk: Chunk) -> Tensor:
    """(v,): -log(1 - q) of background voxels, from the logits where q is nearly 1."""
    ce = torch.neg(chunk.q).log1p_().neg_()
    if chunk.q.numel() and float(chunk.q.amax()) > NEARLY_SURE:
        sure = (chunk.q > NEARLY_SURE).nonzero()[:, 0]
        logits = chunk.logits[:, sure]
        ce[sure] = torch.logsumexp(logits, dim=0) - logits[0]
    return ce


def _sum_of_cross_entropy(chunk: Chunk) -> float:
    """Several voxels share a logarithm: log Π (1 - q) = log(1 - Q)."""
    q = chunk.q
    together = TOGETHER if float(q.mean()) < OFTEN_WRONG else 2
    whole = len(q) // together * together
    total = float(_cross_entropy(Chunk(0, 0, chunk.logits[:, whole:], chunk.p, q[whole:])).sum())
    if not whole:
        return total
    joint = any_wrong(q[None, :whole], together)[0]
    if float(joint.amax()) > JOINTLY_SURE:
        sure = (joint > JOINTLY_SURE).nonzero()[:, 0]
        if 4 * len(sure) > len(joint):
            return float(_cross_entropy(chunk).sum())
        members = (sure + torch.arange(together)[:, None] * len(joint)).view(-1)
        total += float(_cross_entropy(Chunk(0, 0, chunk.logits[:, members], chunk.p, q[members])).sum())
        joint.index_fill_(0, sure, 0.0)
    return total - float(joint.neg_().log1p_().sum())


def background_sums(images: list[Image], plan: Plan) -> tuple[Tensor, Tensor]:
    """The raw sums (see `Raw`), one row for each image, in float64, and what to keep, (R, C · V).

    They are NaN in an image whose logits are not all finite.
    """
    kept = torch.empty((len(images), images[0].logits.numel()), dtype=images[0].logits.dtype)
    length = raw_of(plan, max(2, len(images[0].logits))).length
    result = np.zeros((len(images), length))
    for image, of_image, row in zip(images, kept, result, strict=True):
        for chunk in read_chunks(image, of_image):
            row += _chunk_sums(chunk, plan) if is_finite(chunk.logits) else np.nan
    return torch.from_numpy(result), kept


def is_finite(logits: Tensor) -> bool:
    """Whether all are; nearly always their sum tells."""
    return math.isfinite(float(logits.sum())) or bool(torch.isfinite(logits).all())


def _chunk_sums(chunk: Chunk, plan: Plan) -> npt.NDArray[Any]:
    parts = [sums(chunk.p)] if plan.sharpens else []
    for power in plan.powers:
        parts += [_power_sums(chunk.p, power), _power_sums(chunk.q[None], power)]
    ce = _cross_entropy(chunk) if plan.logarithms else chunk.q
    for term in plan.on_background:
        if plan.logarithms:
            parts.append(sums(term.value(ce, chunk.q)[None]))
        elif isinstance(term, CrossEntropy):
            parts.append(np.array([_sum_of_cross_entropy(chunk)]))
        else:
            parts.append(
                tail_sums(chunk.q[None], lambda q, _: np.array([_sum_of_cross_entropy(replace(chunk, q=q[0]))]))
            )
    return np.concatenate(parts) if parts else np.empty(0)


def _power_sums(x: Tensor, power: float) -> Row:
    return sums(x.pow(power)) if power != 2 else torch.linalg.vector_norm(x, dim=1).square_().numpy()


def background_gradient(kept: Tensor, images: list[Image], plan: Plan, weights: Tensor, outs: list[Tensor]) -> None:
    """Write d(weights · raw sums) / d logits into each out (C, V), from what `background_sums` kept.

    It is 0 where a voxel is no background voxel.
    """
    for image, of_image, row, out in zip(images, kept, weights, outs, strict=True):
        _image_gradient(kept_chunks(image, of_image), plan, row, out)


def _image_gradient(chunks: Iterator[Chunk], plan: Plan, weights: Tensor, out: Tensor) -> None:
    classes = len(out)
    linear, rest = weights.new_zeros(classes - 1), weights
    if plan.sharpens:
        linear, rest = weights[: classes - 1], weights[classes - 1 :]
    of_powers, of_terms = rest[: classes * len(plan.powers)], rest[classes * len(plan.powers) :]
    for chunk in chunks:
        by_term = _term_slopes(chunk, plan, of_terms.tolist())
        _write_gradient(chunk, plan, linear, of_powers.view(-1, classes), by_term, out[:, chunk.start : chunk.stop])


def _write_gradient(
    chunk: Chunk, plan: Plan, linear: Tensor, of_powers: Tensor, by_term: Tensor | float, out: Tensor
) -> None:
    """p_c (a_c - Σ_k a_k p_k + s) for the lesion classes; the background's is what makes them add up to 0.

    A slope by q, the same for all classes, is as good as a term of slope · (1 - q).
    """
    p, q, pull = chunk.p, chunk.q, out[1:]
    slopes, common = linear[:, None].to(p.dtype), by_term
    for power, weights in zip(plan.powers, of_powers.to(p.dtype), strict=True):
        slopes = torch.addcmul(slopes, _lower(p, power), (power * weights[:-1])[:, None], out=pull)
        common = common + _lower(q, power).mul(power * weights[-1]).mul_(1 - q)
    if not plan.powers:
        of_slopes = slopes[:, 0] @ p
        torch.add(slopes, common - of_slopes, out=pull).mul_(p)
    else:
        of_slopes = pull.mul_(p).sum(0)
        pull.addcmul_(p, common - of_slopes)
    torch.mul(of_slopes - common, q, out=out[0]).sub_(of_slopes)


def _lower(x: Tensor, power: float) -> Tensor:
    return x if power == 2 else x.pow(power - 1)


def _term_slopes(chunk: Chunk, plan: Plan, weights: list[float]) -> Tensor | float:
    """Σ weight · d term / d ce, (v,), or a number if it is the same for all voxels."""
    total: Tensor | float = 0.0
    ce = chunk.q if plan.slopes_by_q else _cross_entropy(chunk)
    for term, weight in zip(plan.on_background, weights, strict=True):
        total = total + (weight if isinstance(term, CrossEntropy) else weight * term.slope(ce, chunk.q))
    return total
