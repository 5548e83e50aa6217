"""One logit per voxel: the background of a batch in few calls on long tensors, its lesion voxels as a short list.

Seen from its own class, a voxel of either kind has a margin (the logit of the wrong class) and q = σ(margin), the
probability of being wrong; so one set of formulas serves both. Kept for the backward pass is one number a voxel: q of
the background, or, where a loss is one term only, the pull of that term.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.terms import CrossEntropy, Focal, Tail, Term

CHUNK = 1 << 21  # numbers in a piece of work: calls cost little beside it, and it is not far from the cache
NEARLY_SURE = 0.98  # from there on, 1 - q has too few digits for its logarithm
TOGETHER = ((0.1, 16), (0.3, 8), (1.0, 2))  # voxels that share a logarithm, up to a mean of q
JOINTLY_SURE = 0.99  # up to there, 1 - q of several together has digits enough
MANY = 0.25  # above this share of groups that are jointly sure, each voxel gets its own logarithm


@dataclass(frozen=True)
class Errors:
    """Voxels of one true class, (r, v); q is 0 where a voxel is left out."""

    margin: Tensor
    q: Tensor

    @cached_property
    def cross_entropy(self) -> Tensor:
        """-log(1 - q), from the margin where q is nearly 1."""
        ce = torch.neg(self.q).log1p_().neg_()
        if self.q.numel() and float(self.q.amax()) > NEARLY_SURE:
            sure = (self.q > NEARLY_SURE).view(-1).nonzero()[:, 0]
            ce.view(-1)[sure] = logsigmoid(self.margin.reshape(-1)[sure].neg_()).neg_()
        return ce

    def value(self, term: Term) -> Tensor:
        """The term of each voxel."""
        return term.value(self.cross_entropy, self.q)


def single_sums(logits: Tensor, where: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """Raw sums (see `Raw`) over the background voxels of logits (R, V), float64, and what to keep, (R, V).

    `where` holds the sorted positions of lesion voxels in the flattened batch.
    """
    kept = torch.empty_like(logits)
    sums = torch.zeros((len(logits), raw_of(plan, 2).length), dtype=torch.float64)
    for rows, start, stop in pieces(*logits.shape):
        shape = (rows.stop - rows.start, -1)
        margin, q = logits.view(-1)[start:stop].view(shape), kept.view(-1)[start:stop]
        torch.sigmoid(margin, out=q.view(shape))
        q.index_fill_(0, _between(where, start, stop), 0.0)
        if valid is not None:
            q.mul_(valid.reshape(-1)[start:stop])
        errors = Errors(margin, q.view(shape))
        if plan.lone_term is not None:
            sums[rows] += sweep(plan.lone_term, errors.cross_entropy, errors.q, errors.q)[:, None]
        else:
            sums[rows] += _row_sums(errors, plan)
    return sums, kept


def single_gradient(
    kept: Tensor, logits: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor, out: Tensor
) -> None:
    """Write d(weights · raw sums) / d logits into out (R, V), from what `single_sums` kept; weights (R, length)."""
    del valid  # what was kept is 0 there
    for row, of_row in enumerate(weights.tolist()):
        for start in range(0, kept.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            if plan.lone_term is not None:
                torch.mul(kept[row, part], of_row[0], out=out[row, part])
            else:
                _write_gradient(Errors(logits[row, part], kept[row, part]), plan, of_row, out[row, part])


def listed_sums(errors: Errors, row: Tensor, rows: int, plan: Plan) -> Tensor:
    """Raw sums, (R, length) in float64, over listed voxels (n,), each of which belongs to a row."""
    columns = [errors.q] if plan.sharpens else []
    for power in plan.powers:
        columns += 2 * [errors.q.pow(power)]
    columns += [errors.value(term) for term in plan.on_background]
    sums = torch.zeros((rows, len(columns)), dtype=torch.float64)
    return sums.index_add_(0, row, torch.stack(columns, dim=1).double()) if columns else sums


def listed_gradient(errors: Errors, plan: Plan, weights: Tensor) -> Tensor:
    """d(weights · raw sums of its row) / d margin of listed voxels, (n,); weights (length, n)."""
    q, column = errors.q, 1 if plan.sharpens else 0
    slope = weights[0].clone() if plan.sharpens else torch.zeros_like(q)
    for power in plan.powers:
        slope += weights[column : column + 2].sum(0) * power * q.pow(power - 1)
        column += 2
    slope *= torch.sigmoid(-errors.margin)
    for term, weight in zip(plan.on_background, weights[column:], strict=True):
        slope += weight * (1.0 if isinstance(term, CrossEntropy) else term.slope(errors.cross_entropy, q))
    return slope.mul_(q)


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


def _between(where: Tensor, start: int, stop: int) -> Tensor:
    low, high = torch.searchsorted(where, torch.tensor([start, stop])).tolist()
    return where[low:high] - start if start else where[low:high]


def _row_sums(errors: Errors, plan: Plan) -> Tensor:
    q = errors.q
    linear = q.sum(1)
    columns = [linear] if plan.sharpens else []
    for power in plan.powers:
        columns += 2 * [(q * q if power == 2 else q.pow(power)).sum(1)]
    plain = all(isinstance(term, CrossEntropy) for term in plan.on_background)
    for term in plan.on_background:
        columns.append(_cross_entropy_sums(errors, linear) if plain else sweep(term, errors.cross_entropy, q, None))
    return torch.stack(columns, dim=1)


def sweep(term: Term, ce: Tensor, q: Tensor, pull: Tensor | None) -> Tensor:
    """Σ term of each row, (r,), and d term / d margin = slope · q written into `pull` (q itself, if it may go).

    With `pull`, ce is overwritten. Fewer passes over the voxels than value and slope take.
    """
    if isinstance(term, Focal) and term.gamma > 0:
        powered = q * q if term.gamma == 2 else q.pow(term.gamma)
        total: Tensor = torch.linalg.vecdot(powered, ce)
        if pull is not None:
            # slope · q = q^gamma (q + gamma (1 - q) ce)
            ce.addcmul_(ce, q, value=-1)
            torch.add(q, ce, alpha=term.gamma, out=ce)
            torch.mul(ce, powered, out=pull)
        return total
    if isinstance(term, Tail) and term.gamma > 1:
        total = _tail_sums(term, ce, q)
        if pull is not None:
            torch.mul(q, q, out=pull) if term.gamma == 2 else torch.pow(q, term.gamma, out=pull)
        return total
    total = term.value(ce, q).sum(1)
    if pull is not None:
        torch.mul(q, term.slope(ce, q), out=pull)
    return total


def _tail_sums(term: Tail, ce: Tensor, q: Tensor) -> Tensor:
    """See `Tail.value`."""
    junction, terms = term.series(q.dtype)
    first, last = term.gamma, term.gamma + terms - 1
    series = q.mul(1 / last).add_(1 / (last - 1))
    for j in range(last - 2, first - 1, -1):
        series.mul_(q).add_(1 / j)
    series.mul_(q * q if first == 2 else q.pow(first))
    closed = ce - q
    for j in range(2, first):
        closed.sub_(q.pow(j), alpha=1 / j)
    return torch.where(q < junction, series, closed, out=closed).sum(1)


def _cross_entropy_sums(errors: Errors, linear: Tensor) -> Tensor:
    """Several voxels share a logarithm: log Π (1 - q) = log(1 - Q), Q built up by x + y - x y, which keeps digits."""
    rows, voxels = errors.q.shape
    mean = float(linear.sum()) / max(1, errors.q.numel())
    together = next(number for most, number in TOGETHER if mean <= most or number == 2)
    whole = voxels // together * together
    rest = Errors(errors.margin[:, whole:].contiguous(), errors.q[:, whole:].contiguous())
    total = rest.cross_entropy.sum(1)
    joint = errors.q[:, :whole].view(rows, together, -1) if whole else errors.q[:, None, :0]
    while joint.shape[1] > 1:
        one, other = joint[:, : joint.shape[1] // 2], joint[:, joint.shape[1] // 2 :]
        joint = torch.add(one, other).addcmul_(one, other, value=-1)
    joint = joint[:, 0]
    if joint.numel() and float(joint.amax()) > JOINTLY_SURE:
        row, column = (joint > JOINTLY_SURE).nonzero(as_tuple=True)
        if len(row) > MANY * joint.numel():
            return errors.cross_entropy.sum(1)
        members = column[:, None] + torch.arange(together) * joint.shape[1]
        sure = Errors(errors.margin[row[:, None], members], errors.q[row[:, None], members])
        total = total.index_add(0, row, sure.cross_entropy.sum(1))
        joint[row, column] = 0.0
    return total - joint.neg_().log1p_().sum(1)


def _write_gradient(errors: Errors, plan: Plan, weights: list[float], out: Tensor) -> None:
    """q (a (1 - q) + s), a the slope of the sums by q and s that of the terms by cross-entropy."""
    q, column = errors.q, 1 if plan.sharpens else 0
    linear = weights[0] if plan.sharpens else 0.0
    of_powers = [(power, sum(weights[column + 2 * i : column + 2 * i + 2])) for i, power in enumerate(plan.powers)]
    of_terms = list(zip(plan.on_background, weights[column + 2 * len(of_powers) :], strict=True))
    plain = float(sum(weight for term, weight in of_terms if isinstance(term, CrossEntropy)))
    others = [(term, weight) for term, weight in of_terms if not isinstance(term, CrossEntropy)]
    if not of_powers and not others:
        torch.mul(q, -linear, out=out).add_(linear + plain).mul_(q)
        return
    if not others and plan.powers == (2.0,):
        curve = 2 * of_powers[0][1]
        torch.mul(q, -curve, out=out).add_(curve - linear).mul_(q).add_(linear + plain).mul_(q)
        return
    torch.sub(1.0, q, out=out)
    if of_powers:
        slopes = torch.full_like(q, linear)
        for power, weight in of_powers:
            slopes.add_(q if power == 2 else q.pow(power - 1), alpha=power * weight)
        out.mul_(slopes)
    else:
        out.mul_(linear)
    for term, weight in others:
        out.add_(term.slope(errors.cross_entropy, q), alpha=weight)
    out.add_(plain).mul_(q)
