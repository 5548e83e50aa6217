"""The sums with their gradients written out, for class numbers: lesions are few, so most of the work is on background.

First every voxel is treated as background; then the lesion voxels are corrected, with every class written out. Kept for
the backward pass is one number for each logit, shared by all sums of a batch: the probability of a wrong answer. It is
0 in lesion voxels and masked voxels, which so drop out of sums and gradients. Nothing is subtracted from 1 where a
confident prediction would lose its digits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from lesionloss.losses.batch import Batch
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.requests import ClassCounts, Part, Request, SingleCounts, Terms
from lesionloss.losses.kernels.selection import Listed, select
from lesionloss.losses.kernels.terms import CrossEntropy, Focal, Poly, Tail, Term

F = TypeVar("F", bound=Callable[..., Any])


class Sums(torch.autograd.Function):
    """Computes a request as one operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        valid: Tensor | None,
        wrong: Tensor,
        where: Tensor | None,
        request: Request,
    ) -> tuple[Tensor, ...]:
        """See `requests`; `where`: positions of lesion voxels, if they are listed."""
        ctx.save_for_backward(logits, labels, valid, wrong, where)
        ctx.set_materialize_grads(False)
        ctx.request = request
        return request.sums(Part(logits.contiguous(), labels, valid, wrong, select(labels, where)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """See `requests`; a gradient that is to be differentiated again comes from the equations."""
        logits, labels, valid, wrong, where = ctx.saved_tensors
        if all(grad is None for grad in grads):
            return None, None, None, None, None, None
        if torch.is_grad_enabled():
            outputs = ctx.request.readable(Batch(logits, labels, valid, None))
            pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
            used, weights = zip(*pairs, strict=True)
            (gradient,) = torch.autograd.grad(used, logits, weights, create_graph=True)
        else:
            part = Part(logits.contiguous(), labels, valid, wrong, select(labels, where))
            gradient = ctx.request.gradient(part, grads)
        return gradient, None, None, None, None, None


_backward = Sums.backward


def uncompiled(function: F) -> F:
    """A function that torch.compile leaves out, and so it does the backward pass of this kernel from now on.

    Only on request, because torch.compiler takes a second to import its parts.
    """
    disable: Callable[[Any], Any] = torch.compiler.disable  # torch leaves it without types
    Sums.backward = staticmethod(disable(_backward))  # type: ignore[method-assign]
    left_out: F = disable(function)
    return left_out


# torch leaves `apply` without types.
_sums: Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor | None, Request], tuple[Tensor, ...]] = Sums.apply


@dataclass(frozen=True)
class Fast:
    """Takes class numbers without weights; soft labels and weighted voxels go the readable way."""

    name: str = "fast"

    def class_voxels(self, batch: Batch) -> Tensor:
        """See `Kernel`."""
        if _readable(batch) or batch.labels.device.type != "cpu":
            return READABLE.class_voxels(batch)
        labels = batch.labels.to(torch.uint8) if batch.labels.dtype == torch.bool else batch.labels
        counted = torch.stack([torch.bincount(row, minlength=batch.classes) for row in labels])
        if batch.valid is not None:
            counted[:, 0] = batch.valid.sum(1) - counted[:, 1:].sum(1)
        return counted.to(batch.logits.dtype)

    def counts(self, batch: Batch, sharpen: float, average_background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Kernel`."""
        if _readable(batch) or sharpen < 1:
            return READABLE.counts(batch, sharpen, average_background)
        if batch.classes > 2:
            tp, fp, fn, tn = _request(batch, ClassCounts(sharpen))
            if not average_background:
                tp, fp, fn, tn = tp[:, 1:], fp[:, 1:], fn[:, 1:], tn[:, 1:]
            return tp, fp, fn, tn
        tp, fp, fn, tn = _request(batch, SingleCounts(sharpen))
        if average_background:  # what is positive for one of two classes is negative for the other
            tp, tn, fp, fn = _beside(tn, tp), _beside(tp, tn), _beside(fn, fp), _beside(fp, fn)
        return tp, fp, fn, tn

    def term_sums(self, batch: Batch, lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        """See `Kernel`."""
        if _readable(batch) or not _vanishes(background, batch.logits):
            return READABLE.term_sums(batch, lesion, background)
        on_lesion, on_background = _request(batch, Terms(lesion, background))
        return on_lesion, on_background


def _readable(batch: Batch) -> bool:
    """Whether only the equations fit."""
    return batch.soft or batch.weight is not None


def _vanishes(term: Term, like: Tensor) -> bool:
    """Whether a voxel without any error has neither value nor gradient, as voxels that are left out must."""
    if type(term) in (CrossEntropy, Focal, Poly, Tail):
        return True
    zero = like.new_zeros(1)
    return bool(term.value(zero, zero) == 0) and bool(torch.isfinite(term.slope(zero, zero)))


def _request(batch: Batch, request: Request) -> tuple[Tensor, ...]:
    wrong, where = batch.once("fast", lambda: _shared(batch))
    return _sums(batch.logits, batch.labels, batch.valid, wrong, where, request)


def _shared(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """`Part.wrong`, and the positions of lesion voxels if they are listed."""
    logits, lesions = batch.logits.detach().contiguous(), select(batch.labels)
    if logits.shape[1] == 1:
        wrong = torch.sigmoid(logits)
    else:
        wrong = torch.softmax(logits, dim=1)
        torch.sum(wrong[:, 1:], dim=1, out=wrong[:, 0])
    wrong = lesions.put(wrong, 0.0)
    if batch.valid is not None:
        wrong.mul_(batch.valid[:, None])
    return wrong, lesions.where if isinstance(lesions, Listed) else None


def _beside(background: Tensor, lesion: Tensor) -> Tensor:
    return torch.cat([background, lesion], dim=1)


FAST = Fast()
