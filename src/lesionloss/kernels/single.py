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

from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.terms import CrossEntropy, Focal, Tail, Term
from lesionloss.values import refuse_logits

CHUNK = 1 << 19  # numbers in a piece of work: calls cost little beside it, and it stays in the shared cache
NEARLY_SURE = 0.98  # from there on, 1 - q has too few digits for its logarithm
SURE_MARGIN = 3.8  # no q is above NEARLY_SURE where no margin is above that
TOGETHER = ((0.1, 16), (0.3, 8), (1.0, 2))  # voxels that share a logarithm, up to a mean of q
JOINTLY_SURE = 0.99  # up to there, 1 - q of several together has digits enough
MANY = 0.25  # above this share of groups that are jointly sure, each voxel gets its own logarithm


@dataclass(frozen=True)
class Errors:
    """Voxels of one true class, (r, v); q is 0 where a voxel is left out."""

    margin: Tensor
    q: Tensor
    largest: float = float("inf")  # no margin is above it

    @cached_property
    def log_right(self) -> Tensor:
        """log(1 - q), the cross-entropy but for its sign; from the margin where q is nearly 1."""
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


def single_sums(logits: Tensor, where: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """Raw sums (see `Raw`) over the background voxels of logits (R, V), float64, and what to keep, (R, V).

    `where` holds the sorted positions of lesion voxels in the flattened batch. Raises DataError for logits that are
    not finite.
    """
    kept = torch.empty_like(logits)
    sums = np.zeros((len(logits), raw_of(plan, 2).length))
    spare = None if plan.one_term is None else logits.new_empty(min(max(CHUNK, logits.shape[1]), logits.numel()))
    parts = list(pieces(*logits.shape))
    edges = np.searchsorted(where.numpy(), [edge for part in parts for edge in part[1:]]).reshape(-1, 2).tolist()
    for (rows, start, stop), (low, high) in zip(parts, edges, strict=True):
        shape = (rows.stop - rows.start, -1)
        margin, keep = logits.view(-1)[start:stop], kept.view(-1)[start:stop]
        q = keep if spare is None else spare[: stop - start]
        smallest, largest = (float(x) for x in margin.aminmax())
        if not -np.inf < smallest <= largest < np.inf:
            refuse_logits(logits, np.nan)
        torch.sigmoid(margin, out=q)
        if low < high:
            q.index_fill_(0, where[low:high] - start, 0.0)
        if valid is not None:
            q.mul_(valid.reshape(-1)[start:stop])
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
    for number, column in enumerate(columns):
        values = column.numpy()
        for row in np.flatnonzero(np.diff(bounds)):
            sums[row, number] = values[bounds[row] : bounds[row + 1]].sum(dtype=np.float64)
    return sums


def pieces(rows: int, voxels: int) -> Iterator[tuple[slice, int, int]]:
    """Runs of whole rows, or parts of one row where it is long: (rows, start, stop) in the flattened batch."""
    if voxels > CHUNK:
        for row in range(rows):
            for start in range(0, voxels, CHUNK):
                yield slice(row, row + 1), row * voxels + start, row * voxels + min(start + CHUNK, voxels)
        return
    step = max(1, CHUNK // max(1, voxels))
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
    """Several voxels share a logarithm: log Π (1 - q) = log(1 - Q), Q built up by x + y - x y, which keeps digits."""
    rows, voxels = errors.q.shape
    mean = float(linear.sum()) / max(1, errors.q.numel())
    together = next(number for most, number in TOGETHER if mean <= most or number == 2)
    whole = voxels // together * together
    total = errors.q.new_zeros(rows)
    if whole < voxels:
        rest = Errors(errors.margin[:, whole:].contiguous(), errors.q[:, whole:].contiguous())
        total -= rest.log_right.sum(1)
    joint = errors.q[:, :whole].view(rows, together, -1) if whole else errors.q[:, None, :0]
    while joint.shape[1] > 1:
        one, other = joint[:, : joint.shape[1] // 2], joint[:, joint.shape[1] // 2 :]
        joint = torch.add(one, other).addcmul_(one, other, value=-1)
    joint = joint[:, 0]
    if joint.numel() and float(joint.amax()) > JOINTLY_SURE:
        row, column = (joint > JOINTLY_SURE).nonzero(as_tuple=True)
        if len(row) > MANY * joint.numel():
            return errors.log_right.sum(1).neg_()
        members = column[:, None] + torch.arange(together) * joint.shape[1]
        sure = Errors(errors.margin[row[:, None], members], errors.q[row[:, None], members])
        total = total.index_add(0, row, sure.log_right.sum(1).neg_())
        joint[row, column] = 0.0
    return total - joint.neg_().log1p_().sum(1)
