"""One logit per voxel: the background of a batch in few calls on long tensors, its lesion voxels as a short list.

Seen from its own class, a voxel of either kind has a margin (the logit of the wrong class) and q = σ(margin), the
probability of being wrong; so one set of formulas serves both. Kept for the backward pass is one number a voxel: the
pull of the background's term, if there is one that is more than a cross-entropy, because it costs a logarithm to find
again; else q of the background.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.kernels.joint import JOINTLY_SURE, any_wrong
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.terms import CrossEntropy, Focal, Tail, Term

CHUNK = 1 << 19  # numbers in a piece of work: calls cost little beside it, and it stays in the shared cache
LONG_CHUNK = 1 << 20  # where each number is touched only a few times
NEARLY_SURE = 0.98  # from there on, 1 - q has too few digits for its logarithm
SURE_MARGIN = 3.8  # no q is above NEARLY_SURE where no margin is above that
TOGETHER = ((0.1, 16), (0.3, 8), (1.0, 2))  # voxels that share a logarithm, up to a mean of q
MANY = 0.25  # above this share of groups that are jointly sure, each voxel gets its own logarithm


@dataclass(frozen=True)
class Errors:
    """Voxels of one true class, (r, v); q is 0 where a voxel is left out."""

    margin: Tensor
    q: Tensor
    largest: float = float("inf")  # no margin is above it
    listed: bool = False  # none is left out, and they are few

    @cached_property
    def log_right(self) -> Tensor:
        """log(1 - q), the cross-entropy but for its sign; from the margin where q is nearly 1."""
        if self.listed:
            return logsigmoid(self.margin.neg())
        log = torch.neg(self.q).log1p_()
        if self.largest > SURE_MARGIN and self.q.numel() and float(self.q.amax()) > NEARLY_SURE:
            sure = (self.q > NEARLY_SURE).view(-1).nonzero()[:, 0]
            log.view(-1)[sure] = logsigmoid(self.margin.reshape(-1)[sure].neg_())
        return log

    @cached_property
    def cross_entropy(self) -> Tensor:
        """-log(1 - q)."""
        return self.log_right.neg()

    def value(self, term: Term) -> Tensor:
        """The term of each voxel."""
        return term.value(self.cross_entropy, self.q)


def listed_errors(margin: Tensor) -> Errors:
    """Of a few voxels, given their margins (n,)."""
    return Errors(margin, torch.sigmoid(margin), listed=True)


def single_sums(logits: Tensor, where: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """Raw sums (see `Raw`) over the background voxels of logits (R, V), float64, and what to keep, (R, V).

    `where` holds the sorted positions of lesion voxels in the flattened batch. The sums are NaN where logits are not
    all finite.
    """
    kept = torch.empty_like(logits)
    sums = np.zeros((len(logits), raw_of(plan, 2).length))
    parts = list(pieces(len(logits), logits.shape[1], CHUNK if plan.one_term else LONG_CHUNK))
    sizes = [stop - start for _, start, stop in parts]
    spare = None if plan.one_term is None else logits.new_empty(max(sizes))
    masks = [None] * len(parts) if valid is None else torch.split(valid.reshape(-1), sizes)
    listed = where.numpy()
    edges = np.searchsorted(listed, [edge for part in parts for edge in part[1:]]).reshape(-1, 2).tolist()
    pairs = zip(torch.split(logits.view(-1), sizes), torch.split(kept.view(-1), sizes), masks, strict=True)
    for (rows, start, stop), (low, high), (margin, keep, mask) in zip(parts, edges, pairs, strict=True):
        smallest, largest = (float(x) for x in margin.aminmax())
        if not -np.inf < smallest <= largest < np.inf:
            sums[rows] = np.nan
            continue
        q = torch.sigmoid(margin, out=keep if spare is None else spare[: stop - start])
        q.numpy()[listed[low:high] - start] = 0.0
        if mask is not None:
            q.mul_(mask)
        shape = (rows.stop - rows.start, -1)
        errors = Errors(margin.view(shape), q.view(shape), largest)
        for column, total in enumerate(_row_sums(errors, plan, keep.view(shape))):
            sums[rows, column] += total.numpy()
    return torch.from_numpy(sums), kept


def listed_sums(errors: Errors, bounds: npt.NDArray[Any], plan: Plan) -> npt.NDArray[Any]:
    """Raw sums, (R, length) in float64, over listed voxels (n,), those of row r from bounds[r] to bounds[r + 1]."""
    columns = [errors.q] if plan.sharpens else []
    for power in plan.powers:
        columns += 2 * [errors.q * errors.q if power == 2 else errors.q.pow(power)]
    columns += [errors.value(term) for term in plan.on_background]
    sums = np.zeros((len(bounds) - 1, len(columns)))
    held = np.flatnonzero(np.diff(bounds))
    if len(held):
        for number, column in enumerate(columns):
            sums[held, number] = np.add.reduceat(column.numpy(), bounds[held], dtype=np.float64)
    return sums


def pieces(rows: int, voxels: int, most: int) -> Iterator[tuple[slice, int, int]]:
    """Runs of whole rows, or parts of one row where it is long: (rows, start, stop) in the flattened batch."""
    if voxels > most:
        for row in range(rows):
            for start in range(0, voxels, most):
                yield slice(row, row + 1), row * voxels + start, row * voxels + min(start + most, voxels)
        return
    step = max(1, most // max(1, voxels))
    for row in range(0, rows, step):
        stop = min(row + step, rows)
        yield slice(row, stop), row * voxels, stop * voxels


def _row_sums(errors: Errors, plan: Plan, keep: Tensor) -> list[Tensor]:
    """The raw sums of each row, (r,) each; `keep` gets the pull of the one term, if there is one."""
    q, terms = errors.q, plan.on_background
    columns = [q.sum(1)] if plan.sharpens else []
    for power in plan.powers:
        columns += 2 * [_dots(q, q) if power == 2 else q.pow(power).sum(1)]
    if all(isinstance(term, CrossEntropy) for term in terms):
        return columns + [_cross_entropy_sums(errors, columns[0] if plan.sharpens else q.sum(1)) for _ in terms]
    # Cross-entropies first, because a sweep may overwrite the logarithms.
    plain = [errors.log_right.sum(1).neg_() for term in terms if isinstance(term, CrossEntropy)]
    return columns + [
        plain.pop() if isinstance(term, CrossEntropy) else sweep(term, errors, keep if term is plan.one_term else None)
        for term in terms
    ]


def sweep(term: Term, errors: Errors, pull: Tensor | None) -> Tensor:
    """Σ term of each row, (r,); `pull` gets d term / d margin = slope · q, and then the logarithms are overwritten.

    Fewer passes over the voxels than value and slope take.
    """
    q, log = errors.q, errors.log_right
    if isinstance(term, Focal) and term.gamma > 0:
        powered = _power(q, term.gamma)
        total: Tensor = _dots(powered, log).neg_()
        if pull is not None:
            # slope · q = q^gamma (q + gamma (1 - q) ce): with log for -ce, what is between log and -1 / gamma
            between = torch.lerp(log, q.new_tensor(-1 / term.gamma), q, out=log)
            torch.addcmul(q.new_zeros(()), between, powered, value=-term.gamma, out=pull)
        return total
    if isinstance(term, Tail) and term.gamma > 1:
        total = _tail_sums(term, log, q)
        if pull is not None:
            torch.mul(q, q, out=pull) if term.gamma == 2 else torch.pow(q, term.gamma, out=pull)
        return total
    total = errors.value(term).sum(1)
    if pull is not None:
        torch.mul(q, term.slope(errors.cross_entropy, q), out=pull)
    return total


def _dots(x: Tensor, y: Tensor) -> Tensor:
    """Σ x y of each row; twice as quick as `torch.linalg.vecdot`."""
    return torch.stack([torch.dot(one, other) for one, other in zip(x, y, strict=True)])


def _power(q: Tensor, exponent: float) -> Tensor:
    if exponent == 2:
        return q * q
    return q.sqrt() if exponent == 0.5 else q.pow(exponent)


def _tail_sums(term: Tail, log: Tensor, q: Tensor) -> Tensor:
    """See `Tail.value`."""
    junction, terms = term.series(q.dtype)
    first, last = term.gamma, term.gamma + terms - 1
    series = torch.add(q.new_tensor(1 / (last - 1)), q, alpha=1 / last)
    for j in range(last - 2, first - 1, -1):
        torch.addcmul(q.new_tensor(1 / j), series, q, out=series)
    series.mul_(_power(q, first))
    # The series everywhere, and what the closed form has less, where that is used; choosing costs more than both.
    less = torch.add(log, q)
    for j in range(2, first):
        less.add_(q.pow(j), alpha=1 / j)
    less.add_(series)
    where_closed: Tensor = torch.ops.aten.threshold_backward(less, q, junction)
    return series.sum(1) - where_closed.sum(1)


def _cross_entropy_sums(errors: Errors, linear: Tensor) -> Tensor:
    """Several voxels share a logarithm: log Π (1 - q) = log(1 - Q)."""
    rows, voxels = errors.q.shape
    mean = linear.numpy().sum() / max(1, errors.q.numel())
    together = next(number for most, number in TOGETHER if mean <= most or number == 2)
    whole = voxels // together * together
    if not whole:
        return errors.log_right.sum(1).neg_()
    joint = any_wrong(errors.q if whole == voxels else errors.q[:, :whole], together)
    others = errors.q.new_zeros(rows)
    if float(joint.amax()) > JOINTLY_SURE:
        row, column = (joint > JOINTLY_SURE).nonzero(as_tuple=True)
        if len(row) > MANY * joint.numel():
            return errors.log_right.sum(1).neg_()
        members = column[:, None] + torch.arange(together) * joint.shape[1]
        sure = Errors(errors.margin[row[:, None], members], errors.q[row[:, None], members])
        others.index_add_(0, row, sure.log_right.sum(1))
        joint[row, column] = 0.0
    if whole < voxels:
        others += Errors(errors.margin[:, whole:].contiguous(), errors.q[:, whole:].contiguous()).log_right.sum(1)
    return joint.neg_().log1p_().sum(1).add_(others).neg_()
