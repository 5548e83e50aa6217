"""The gradient of what `single_sums` sums up: one logit per voxel, written once."""

import torch
from torch import Tensor

from lesionloss.losses.kernels.plan import Plan
from lesionloss.losses.kernels.single import CHUNK, Errors, pieces
from lesionloss.losses.kernels.terms import CrossEntropy, Tail, Term


def single_gradient(
    kept: Tensor, logits: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor, out: Tensor
) -> None:
    """Write d(weights · raw sums) / d logits into out (R, V), from what `single_sums` kept; weights (R, length).

    `out` may be `kept` itself.
    """
    parts = list(pieces(len(logits), logits.shape[1], min(CHUNK, logits.shape[1])))  # none of them in two rows
    sizes, of_rows = [stop - start for _, start, stop in parts], weights.tolist()
    room, spare = logits.new_empty((2, max(sizes)))
    masks = [None] * len(parts) if valid is None else torch.split(valid.reshape(-1), sizes)
    whole = zip(*(torch.split(x.view(-1), sizes) for x in (logits, kept, out)), masks, strict=True)
    for (rows, _, _), size, (margin, keep, into, mask) in zip(parts, sizes, whole, strict=True):
        of_row, here = of_rows[rows.start], room if size == len(room) else room[:size]
        term = plan.one_term
        if term is None:
            _write_gradient(Errors(margin, keep), plan, of_row, into, here)
            continue
        of_term = of_row[len(of_row) - len(plan.pairs) + plan.on_background.index(term)]
        if len(of_row) == 1:
            torch.mul(keep, of_term, out=into)
            continue
        q = torch.sigmoid(margin, out=spare[:size])
        if mask is not None:
            q.mul_(mask)
        _write_gradient(Errors(margin, q), plan, of_row, q, here, known=term)
        torch.add(q, keep, alpha=of_term, out=into)


def listed_gradient(errors: Errors, plan: Plan, weights: Tensor) -> Tensor:
    """d(weights · raw sums of its row) / d margin of listed voxels, (n,); weights (length, n)."""
    q, column = errors.q, 1 if plan.sharpens else 0
    slope = weights[0].clone() if plan.sharpens else torch.zeros_like(q)
    for power in plan.powers:
        slope += weights[column : column + 2].sum(0) * power * q.pow(power - 1)
        column += 2
    slope *= torch.sigmoid(-errors.margin)
    for term, weight in zip(plan.on_background, weights[column:], strict=True):
        slope += weight if isinstance(term, CrossEntropy) else weight * _slope(term, errors)
    return slope.mul_(q)


def _write_gradient(
    errors: Errors, plan: Plan, weights: list[float], out: Tensor, room: Tensor, known: Term | None = None
) -> None:
    """q times the slope of all sums by the margin over q, but for a known term.

    `out` may be q itself: it is written last, once; `room` is as large and holds what comes before.
    """
    q, column = errors.q, 1 if plan.sharpens else 0
    # (1 - q) (a + 2 b q) of counts, w of a cross-entropy, w q^(gamma - 1) of a tail: mostly a polynomial in q
    linear = weights[0] if plan.sharpens else 0.0
    of_powers = [(power, sum(weights[column + 2 * i : column + 2 * i + 2])) for i, power in enumerate(plan.powers)]
    curve = 2 * sum(weight for power, weight in of_powers if power == 2)
    coefficients = [linear, curve - linear, -curve]
    others: list[tuple[Term, float]] = []
    of_terms = list(zip(plan.on_background, weights[column + 2 * len(of_powers) :], strict=True))
    for term, weight in of_terms:
        if isinstance(term, CrossEntropy):
            coefficients[0] += weight
        elif isinstance(term, Tail) and term.gamma <= len(coefficients):
            coefficients[term.gamma - 1] += weight
        elif term is not known:
            others.append((term, weight))
    if all(term is known for term, _ in of_terms) and plan.powers in (
        (),
        (2.0,),
    ):  # a product with q (1 - q) in one pass
        slope = torch.add(q.new_tensor(linear), q, alpha=curve, out=room) if curve else q.new_tensor(linear)
        torch.ops.aten.sigmoid_backward.grad_input(slope, q, grad_input=out)
        return
    first, second, third = coefficients
    torch.add(q.new_tensor(second if third else first), q, alpha=third or second, out=room)
    if third:
        torch.addcmul(q.new_tensor(first), room, q, out=room)
    for power, weight in of_powers:
        if power != 2:
            room.add_(q.pow(power - 1).mul_(1 - q), alpha=power * weight)
    for term, weight in others:
        room.add_(_slope(term, errors), alpha=weight)
    torch.mul(room, q, out=out)


def _slope(term: Term, errors: Errors) -> Tensor:
    """That of a tail needs no logarithm."""
    return term.slope(errors.q if isinstance(term, Tail) else errors.cross_entropy, errors.q)
