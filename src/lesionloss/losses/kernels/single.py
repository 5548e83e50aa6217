"""One logit per voxel: the background of a batch in few calls on long tensors, its lesion voxels as a short list.

Seen from its own class, a voxel of either kind has a margin (the logit of the wrong class) and q = σ(margin), the
probability of being wrong; so one set of formulas serves both. Kept for the backward pass is one number a voxel: the
pull of the background's term, if there is one whose slope costs a logarithm to find again; else q of the background.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lesionloss.losses.kernels.joint import JOINTLY_SURE, Row, any_wrong, dots, sums, tail_sums
from lesionloss.losses.kernels.plan import Plan, raw_of
from lesionloss.losses.kernels.terms import CrossEntropy, Focal, Term

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
    result = np.zeros((len(logits), raw_of(plan, 2).length))
    parts = list(pieces(len(logits), logits.shape[1], LONG_CHUNK if plan.is_plain else CHUNK))
    sizes = [stop - start for _, start, stop in parts]
    spare = None if plan.one_term is None else logits.new_empty(max(sizes))
    masks = [None] * len(parts) if valid is None else torch.split(valid.reshape(-1), sizes)
    listed = where.numpy()
    edges = np.searchsorted(listed, [edge for part in parts for edge in part[1:]]).reshape(-1, 2).tolist()
    pairs = zip(torch.split(logits.view(-1), sizes), torch.split(kept.view(-1), sizes), masks, strict=True)
    for (rows, start, stop), (low, high), (margin, keep, mask) in zip(parts, edges, pairs, strict=True):
        smallest, largest = (float(x) for x in margin.aminmax())
        if not -np.inf < smallest <= largest < np.inf:
            result[rows] = np.nan
            continue
        q = torch.sigmoid(margin, out=keep if spare is None else spare[: stop - start])
        q.numpy()[listed[low:high] - start] = 0.0
        if mask is not None:
            q.mul_(mask)
        shape = (rows.stop - rows.start, -1)
        errors = Errors(margin.view(shape), q.view(shape), largest)
        for column, total in enumerate(_row_sums(errors, plan, keep.view(shape))):
            result[rows, column] += total
    return torch.from_numpy(result), kept


def listed_sums(errors: Errors, bounds: npt.NDArray[Any], plan: Plan) -> npt.NDArray[Any]:
    """Raw sums, (R, length) in float64, over listed voxels (n,), those of row r from bounds[r] to bounds[r + 1]."""
    columns = [errors.q] if plan.sharpens else []
    for power in plan.powers:
        columns += 2 * [errors.q * errors.q if power == 2 else errors.q.pow(power)]
    columns += [errors.value(term) for term in plan.on_background]
    result = np.zeros((len(bounds) - 1, len(columns)))
    held = np.flatnonzero(np.diff(bounds))
    if len(held):
        for number, column in enumerate(columns):
            result[held, number] = np.add.reduceat(column.numpy(), bounds[held], dtype=np.float64)
    return result


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


def _row_sums(errors: Errors, plan: Plan, keep: Tensor) -> list[Row]:
    """The raw sums of each row; `keep` gets the pull of the one term, if there is one."""
    q = errors.q
    columns = [sums(q)] if plan.sharpens else []
    for power in plan.powers:
        columns += 2 * [dots(q, q) if power == 2 else sums(q.pow(power))]
    of_terms: dict[Term, Row] = {}
    # The one term comes last, because its sweep overwrites the logarithms.
    for term in sorted(plan.on_background, key=lambda term: term == plan.one_term):
        if plan.logarithms:
            of_terms[term] = sweep(term, errors, keep if term is plan.one_term else None)
        elif isinstance(term, CrossEntropy):
            of_terms[term] = _joint_sums(errors, columns[0] if columns else sums(q))
        else:
            of_terms[term] = tail_sums(q, lambda large, linear: _joint_sums(replace(errors, q=large), linear))
    return columns + [of_terms[term] for term in plan.on_background]


def sweep(term: Term, errors: Errors, pull: Tensor | None) -> Row:
    """Σ term of each row; `pull` gets d term / d margin = slope · q, and then the logarithms are overwritten.

    Fewer passes over the voxels than value and slope take.
    """
    q, log = errors.q, errors.log_right
    if isinstance(term, CrossEntropy):
        return -sums(log)
    if isinstance(term, Focal) and term.gamma > 0:
        powered = _power(q, term.gamma)
        total = -dots(powered, log)
        if pull is not None:
            # slope · q = q^gamma (q + gamma (1 - q) ce): with log for -ce, what is between log and -1 / gamma
            between = torch.lerp(log, q.new_tensor(-1 / term.gamma), q, out=log)
            torch.addcmul(q.new_zeros(()), between, powered, value=-term.gamma, out=pull)
        return total
    total = sums(errors.value(term))
    if pull is not None:
        torch.mul(q, term.slope(errors.cross_entropy, q), out=pull)
    return total


def _power(q: Tensor, exponent: float) -> Tensor:
    if exponent == 2:
        return q * q
    return q.sqrt() if exponent == 0.5 else q.pow(exponent)


def _joint_sums(errors: Errors, linear: Row) -> Row:
    """Σ ce of each row, given Σ q. Several voxels share a logarithm: log Π (1 - q) = log(1 - Q)."""
    voxels = errors.q.shape[1]
    mean = linear.sum() / max(1, errors.q.numel())
    together = next(number for most, number in TOGETHER if mean <= most or number == 2)
    whole = voxels // together * together
    if not whole:
        return -sums(errors.log_right)
    joint = any_wrong(errors.q if whole == voxels else errors.q[:, :whole], together)
    others = np.zeros(len(errors.q))
    if float(joint.amax()) > JOINTLY_SURE:
        row, column = (joint > JOINTLY_SURE).nonzero(as_tuple=True)
        if len(row) > MANY * joint.numel():
            return -sums(errors.log_right)
        members = column[:, None] + torch.arange(together) * joint.shape[1]
        sure = Errors(errors.margin[row[:, None], members], errors.q[row[:, None], members])
        np.add.at(others, row.numpy(), sums(sure.log_right))
        joint[row, column] = 0.0
    if whole < voxels:
        others += sums(Errors(errors.margin[:, whole:].contiguous(), errors.q[:, whole:].contiguous()).log_right)
    return -others - sums(joint.neg_().log1p_())
