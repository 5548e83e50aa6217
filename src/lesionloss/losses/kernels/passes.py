"""One pass over the voxels as one operation of autograd: all sums that a loss wants, and one gradient for all of them.

Kept for the backward pass are the logits, the labels and the mask; in plain torch one number a logit besides.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lesionloss.losses.kernels.job import Job, Kept
from lesionloss.losses.kernels.plan import Plan
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.walked import Walk, walk_gradient, walk_sums

FEW = 0.05  # the list of lesion voxels is kept for the backward pass if it takes no more than that of the logits


class Sums(torch.autograd.Function):
    """(logits, positions of lesion voxels, job) -> the parts of the results, and the logits of lesions if wanted."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, where: Tensor, job: Job) -> tuple[Tensor, ...]:
        flat = logits.contiguous()
        results, kept = job.sums(flat, where)
        few = where.nbytes <= FEW * logits.nbytes
        ctx.set_materialize_grads(False)
        listed = (where, kept.margin) if few else (None, None)
        ctx.save_for_backward(logits, job.labels, job.valid, *listed, kept.numbers)
        ctx.job, ctx.bounds = job, kept.bounds
        return _parts(results, job.plan, logits) + ((job.listed(flat, where),) if job.plan.listed else ())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, labels, _, where, margin, numbers = ctx.saved_tensors
        job: Job = ctx.job
        if all(grad is None for grad in grads):
            return None, None, None
        weights, of_listed = _joined(grads, job.plan, logits)
        if torch.is_grad_enabled():
            return _gradient_again(job, logits, weights, of_listed), None, None
        where = job.engine.find(labels).where if where is None else where
        kept = Kept(numbers, ctx.bounds, margin)
        gradient = job.gradient(logits.contiguous(), weights, where, kept, last=not _kept_graph())
        if of_listed is not None:
            job.add_listed(gradient, where, of_listed)
        return gradient, None, None


def _kept_graph() -> bool:
    """Whether the backward pass that is under way may be followed by another through the same graph."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if asked is None else bool(asked())


class Walked(torch.autograd.Function):
    """(logits (R, 1, V), positions of lesion voxels if their logits are wanted, job, walk) -> number of lesion voxels
    (R,), the parts of the results, and those logits; keeps nothing.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, where: Tensor | None, job: Job, walk: Walk) -> tuple[Tensor, ...]:
        results, lesions = walk_sums(walk, logits[:, 0], job.labels, job.valid, job.plan)
        ctx.mark_non_differentiable(lesions)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, job.labels, job.valid, where)
        ctx.job, ctx.walk = job, walk
        listed = () if where is None else (job.listed(logits.contiguous(), where),)
        return lesions, *_parts(results, job.plan, logits), *listed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, labels, valid, where = ctx.saved_tensors
        job: Job = ctx.job
        if all(grad is None for grad in grads[1:]):
            return None, None, None, None
        weights, of_listed = _joined(grads[1:], job.plan, logits)
        if torch.is_grad_enabled():
            return _gradient_again(job, logits, weights, of_listed), None, None, None
        gradient = walk_gradient(ctx.walk, logits[:, 0], labels, valid, job.plan, weights)[:, None]
        if of_listed is not None:
            job.add_listed(gradient, where, of_listed)
        return gradient, None, None, None


def _parts(results: Tensor, plan: Plan, logits: Tensor) -> tuple[Tensor, ...]:
    """The columns of the results (R, columns), apart: autograd then needs no operation to tell them from each other."""
    sizes, counts = plan.sizes(max(2, logits.shape[1])), 8 * len(plan.sharpens)
    if results.device.type == "cpu":  # NumPy cuts in a fifth of the time
        numbers, edges = results.numpy(), [0, *itertools.accumulate(sizes)]
        cut = [numbers[:, low:high] for low, high in itertools.pairwise(edges[: counts + 1])]
        cut += [numbers[:, column] for column in edges[counts:-1]]
        return tuple(torch.from_numpy(part) for part in cut)
    parts = torch.split(results, sizes, dim=1)
    return *parts[:counts], *(part[:, 0] for part in parts[counts:])


def _joined(grads: tuple[Tensor | None, ...], plan: Plan, logits: Tensor) -> tuple[Tensor, Tensor | None]:
    """The weights of the results, (R, columns), from those of the parts; the weights of the listed logits, if any."""
    sizes, of_listed = plan.sizes(max(2, logits.shape[1])), grads[-1] if plan.listed else None
    if logits.device.type == "cpu" and not torch.is_grad_enabled():
        weights = torch.zeros((len(logits), sum(sizes)), dtype=logits.dtype)
        numbers = weights.numpy()
        for grad, size, edge in zip(grads, sizes, itertools.accumulate(sizes), strict=False):
            if grad is not None:
                numbers[:, edge - size : edge] = grad.numpy().reshape(-1, size)
        return weights, of_listed
    nothing = logits.new_zeros((len(logits), max(sizes, default=0)))
    parts = [
        nothing[:, :size] if grad is None else grad.view(-1, size) for grad, size in zip(grads, sizes, strict=False)
    ]
    return torch.cat(parts, dim=1) if parts else nothing, of_listed


def _gradient_again(job: Job, logits: Tensor, weights: Tensor, of_listed: Tensor | None) -> Tensor:
    """A gradient that is to be differentiated again, made of operations that autograd knows."""
    from lesionloss.losses.voxels import Voxels

    with torch.enable_grad():
        v = Voxels(logits, job.labels, job.valid, READABLE)
        parts = [part for sharpen in job.plan.sharpens for part in READABLE.counts(v, sharpen, True)]
        for pair in job.plan.pairs:
            parts += [part[:, None] for part in READABLE.term_sums(v, *pair)]
        outputs, pulls = ([torch.cat(parts, dim=1)], [weights]) if parts else ([], [])
        if of_listed is not None:
            outputs.append(READABLE.lesions(v)[1])
            pulls.append(of_listed)
        (gradient,) = torch.autograd.grad(outputs, logits, pulls, create_graph=True)
    return gradient


# torch leaves `apply` without types.
summed: Callable[[Tensor, Tensor, Job], tuple[Tensor, ...]] = Sums.apply
walked: Callable[[Tensor, Tensor | None, Job, Walk], tuple[Tensor, ...]] = Walked.apply
