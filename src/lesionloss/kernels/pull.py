"""The gradient of what `single_sums` sums up: one logit per voxel, written once."""

import torch
from torch import Tensor

from lesionloss.kernels.plan import Plan
from lesionloss.kernels.single import CHUNK, Errors
from lesionloss.kernels.terms import CrossEntropy, Term


def single_gradient(
    kept: Tensor, logits: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor, out: Tensor
) -> None:
    """Write d(weights · raw sums) / d logits into out (R, V), from what `single_sums` kept; weights (R, length).

    `out` may be `kept` itself.
    """
    term = plan.one_term
    room, spare = logits.new_empty((2, min(CHUNK, logits.shape[1])))
    for row, of_row in enumerate(weights.tolist()):
        for start in range(0, kept.shape[1], CHUNK):
            part = (row, slice(start, start + CHUNK))
            here = room[: kept[part].numel()]
            if term is None:
                _write_gradient(Errors(logits[part], kept[part]), plan, of_row, out[part], here)
                continue
            of_term = of_row[len(of_row) - len(plan.pairs) + plan.on_background.index(term)]
            if len(of_row) == 1:
                torch.mul(kept[part], of_term, out=out[part])
                continue
            q = torch.sigmoid(logits[part], out=spare[: kept[part].numel()])
            if valid is not None:
                q.mul_(valid[part])
            _write_gradient(Errors(logits[part], q), plan, of_row, q, here, known=term)
            torch.add(q, kept[part], alpha=of_term, out=out[part])


def listed_gradient(errors: Errors, plan: Plan, weights: Tensor) -> Tensor:
    """d(weights · raw sums of its row) / d margin of listed voxels, (n,); weights (length, n)."""
    q, column = errors.q, 1 if plan.sharpens else 0
    slope = weights[0].clone() if plan.sharpens else torch.zeros_like(q)
    for power in plan.powers:
        slope += weights[column : column + 2].sum(0) * power * q.pow(power - 1)
        column += 2
    slope *= torch.sigmoid(-errors.margin)
    for term, weight in zip(plan.on_background, weights[column:], strict=True):
        slope += weight if isinstance(term, CrossEntropy) else weight * term.slope(errors.cross_entropy, q)
    return slope.mul_(q)


def _write_gradient(
    errors: Errors, plan: Plan, weights: list[float], out: Tensor, room: Tensor, known: Term | None = None
) -> None:
    """q (a (1 - q) + s), a the slope of the sums by q and s that of the terms by cross-entropy, but for a known one.

    `out` may be q itself: it is written last, once; `room` is as large and holds what comes before.
    """
    q, column = errors.q, 1 if plan.sharpens else 0
    linear = weights[0] if plan.sharpens else 0.0
    of_powers = [(power, sum(weights[column + 2 * i : column + 2 * i + 2])) for i, power in enumerate(plan.powers)]
    of_terms = list(zip(plan.on_background, weights[column + 2 * len(of_powers) :], strict=True))
    plain = float(sum(weight for term, weight in of_terms if isinstance(term, CrossEntropy)))
    others = [(term, weight) for term, weight in of_terms if not isinstance(term, CrossEntropy) and term is not known]
    if not others and plan.powers in ((), (2.0,)):
        curve = 2 * of_powers[0][1] if of_powers else 0.0
        if plain == 0:  # a product with q (1 - q) in one pass
            slope = torch.add(q.new_tensor(linear), q, alpha=curve, out=room) if curve else q.new_tensor(linear)
            torch.ops.aten.sigmoid_backward.grad_input(slope, q, grad_input=out)
            return
        if curve:
            torch.add(q.new_tensor(curve - linear), q, alpha=-curve, out=room)
            torch.addcmul(q.new_tensor(linear + plain), room, q, out=room)
        else:
            torch.add(q.new_tensor(linear + plain), q, alpha=-linear, out=room)
        torch.mul(room, q, out=out)
        return
    torch.sub(1.0, q, out=room)
    if of_powers:
        slopes = torch.full_like(q, linear)
        for power, weight in of_powers:
            slopes.add_(q if power == 2 else q.pow(power - 1), alpha=power * weight)
        room.mul_(slopes)
    else:
        room.mul_(linear)
    for term, weight in others:
        room.add_(term.slope(errors.cross_entropy, q), alpha=weight)
    torch.mul(room.add_(plain), q, out=out)
