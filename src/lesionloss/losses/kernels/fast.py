"""The sums with their gradients written out, for class numbers: lesions are few, so most of the work is on background.

First every voxel is treated as background; then the lesion voxels are corrected, with every class written out. Kept for
the backward pass is one number for each logit, shared by all sums of a batch: the probability of a wrong answer. It is
0 in lesion voxels and masked voxels, which so drop out of sums and gradients. Nothing is subtracted from 1 where a
confident prediction would lose its digits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lesionloss.losses.kernels.batch import Batch
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.selection import Listed, Selection, select
from lesionloss.losses.kernels.terms import CrossEntropy, Term

Grads = tuple[Tensor | None, ...]
CONFIDENT = 0.98  # above this q, 1 - q has too few digits for its logarithm
LINEAR = 40.0  # above this logit, log(1 + e^z) is z in double precision too


@dataclass(frozen=True)
class Part:
    """The tensors that sums and gradients are made of; no autograd in here."""

    logits: Tensor  # (R, C, V), contiguous
    labels: Tensor  # (R, V)
    valid: Tensor | None  # (R, V)
    wrong: Tensor  # (R, C, V): p of each lesion class; of several classes channel 0 holds q = 1 - p of the background
    lesions: Selection

    @property
    def classes(self) -> int:
        """K."""
        return max(2, self.logits.shape[1])

    def background_voxels(self) -> Tensor:
        """(R, 1): their number."""
        lesions = self.lesions.sums(torch.ones_like(self.lesions.take(self.logits[:, :1])))
        return (self.labels.shape[1] if self.valid is None else self.valid.sum(1, keepdim=True)) - lesions


class Request(Protocol):
    """Sums of a batch that a loss asks for."""

    def readable(self, batch: Batch) -> tuple[Tensor, ...]:
        """The sums by the equations, for second derivatives."""

    def sums(self, part: Part) -> tuple[Tensor, ...]:
        """The same sums."""

    def gradient(self, part: Part, grads: Grads) -> Tensor:
        """(R, C, V): the gradient of Σ grads · sums; None: this sum was not used."""


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
        """See `Request.sums`; `where`: positions of lesion voxels, if they are listed."""
        ctx.save_for_backward(logits, labels, valid, wrong, where)
        ctx.set_materialize_grads(False)
        ctx.request = request
        return request.sums(Part(logits.contiguous(), labels, valid, wrong, select(labels > 0, where)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """See `Request.gradient`; a gradient that is to be differentiated again comes from the equations."""
        logits, labels, valid, wrong, where = ctx.saved_tensors
        if all(grad is None for grad in grads):
            return None, None, None, None, None, None
        if torch.is_grad_enabled():
            outputs = ctx.request.readable(Batch(logits, labels, valid))
            pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
            used, weights = zip(*pairs, strict=True)
            (gradient,) = torch.autograd.grad(used, logits, weights, create_graph=True)
        else:
            part = Part(logits.contiguous(), labels, valid, wrong, select(labels > 0, where))
            gradient = ctx.request.gradient(part, grads)
        return gradient, None, None, None, None, None


# torch leaves `apply` without types.
_sums: Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor | None, Request], tuple[Tensor, ...]] = Sums.apply


@dataclass(frozen=True)
class Fast:
    """Takes class numbers; soft labels go the readable way."""

    name: str = "fast"

    def class_voxels(self, batch: Batch) -> Tensor:
        """See `Kernel`."""
        if batch.soft or batch.labels.device.type != "cpu":
            return READABLE.class_voxels(batch)
        labels = batch.labels.to(torch.uint8) if batch.labels.dtype == torch.bool else batch.labels
        counted = torch.stack([torch.bincount(row, minlength=batch.classes) for row in labels])
        if batch.valid is not None:
            counted[:, 0] = batch.valid.sum(1) - counted[:, 1:].sum(1)
        return counted.to(batch.logits.dtype)

    def counts(self, batch: Batch, sharpen: float, average_background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Kernel`."""
        if batch.soft or sharpen < 1:
            return READABLE.counts(batch, sharpen, average_background)
        tp, fp, fn, tn = _request(batch, Counts(sharpen, average_background))
        return tp, fp, fn, tn

    def term_sums(self, batch: Batch, lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        """See `Kernel`."""
        if batch.soft:
            return READABLE.term_sums(batch, lesion, background)
        on_lesion, on_background = _request(batch, Terms(lesion, background))
        return on_lesion, on_background


def _request(batch: Batch, request: Request) -> tuple[Tensor, ...]:
    wrong, where = batch.once("fast", lambda: _shared(batch))
    return _sums(batch.logits, batch.labels, batch.valid, wrong, where, request)


def _shared(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """`Part.wrong`, and the positions of lesion voxels if they are listed."""
    logits, lesions = batch.logits.detach().contiguous(), select(batch.labels > 0)
    if logits.shape[1] == 1:
        wrong = torch.sigmoid(logits)
    else:
        wrong = torch.softmax(logits, dim=1)
        torch.sum(wrong[:, 1:], dim=1, out=wrong[:, 0])
    wrong = lesions.put(wrong, 0.0)
    if batch.valid is not None:
        wrong.mul_(batch.valid[:, None])
    return wrong, lesions.where if isinstance(lesions, Listed) else None


def _raised(x: Tensor, power: float) -> Tensor:
    return x if power == 1 else x.square() if power == 2 else x.pow(power)


@dataclass(frozen=True)
class LesionVoxels:
    """Lesion voxels with every class written out. See `Selection` for the shapes; here K comes first."""

    p: Tensor  # (K, ...)
    is_true: Tensor  # (K, ...) bool
    q: Tensor  # (...): 1 - p of the true class, as the sum of the others
    ce: Tensor  # (...)


def _lesion_voxels(part: Part) -> LesionVoxels:
    z = part.lesions.take(part.logits)
    numbers = torch.arange(part.classes, device=z.device).view(-1, *[1] * (z.dim() - 1))
    is_true = part.lesions.take(part.labels[:, None]) == numbers
    if len(z) == 1:
        p = torch.sigmoid(torch.cat([-z, z]))
        return LesionVoxels(p, is_true, p[0], softplus(-z[0], threshold=LINEAR))
    log_p = torch.log_softmax(z, dim=0)
    p = log_p.exp()
    q = p.masked_fill(is_true, 0.0).sum(0)
    far = -log_p.masked_fill(~is_true, 0.0).sum(0)
    return LesionVoxels(p, is_true, q, torch.where(q < 0.5, -torch.log1p(-q), far))


def _background_cross_entropy(part: Part) -> Tensor:
    """(R, V): -log p of class 0, where the background is true; by the logits where q is nearly 1."""
    if part.logits.shape[1] == 1:
        return softplus(part.logits[:, 0], threshold=LINEAR)
    q = part.wrong[:, 0]
    confident = select(q > CONFIDENT)
    logits = confident.take(part.logits)
    exact = torch.logsumexp(logits, dim=0) - logits[0]
    return confident.put(torch.neg(q).log1p_().neg_()[:, None], exact[None])[:, 0]


@dataclass(frozen=True)
class Terms:
    """Σ `lesion` over lesion voxels and Σ `background` over background voxels, (R,) each."""

    lesion: Term
    background: Term

    def readable(self, batch: Batch) -> tuple[Tensor, ...]:
        """See `Request`."""
        return READABLE.term_sums(batch, self.lesion, self.background)

    def sums(self, part: Part) -> tuple[Tensor, ...]:
        """See `Request`."""
        voxels = _lesion_voxels(part)
        on_lesion = part.lesions.sums(self.lesion.value(voxels.ce, voxels.q)[None])[:, 0]
        values = self.background.value(_background_cross_entropy(part), part.wrong[:, 0])
        values = part.lesions.put(values[:, None].contiguous(), 0.0)[:, 0]
        return on_lesion, (values if part.valid is None else torch.where(part.valid, values, 0.0)).sum(-1)

    def gradient(self, part: Part, grads: Grads) -> Tensor:
        """See `Request`: slope times p, but for the true class slope times p - 1."""
        on_lesion, on_background = (part.wrong.new_zeros(()) if grad is None else grad for grad in grads)
        slope = on_background.view(-1, 1, 1)
        if not isinstance(self.background, CrossEntropy):
            slope = slope * self.background.slope(_background_cross_entropy(part), part.wrong[:, 0])[:, None]
        gradient = part.wrong * slope
        if part.classes == gradient.shape[1]:
            gradient[:, 0].neg_()
        voxels = _lesion_voxels(part)
        slope = part.lesions.spread(on_lesion.view(-1, 1)) * self.lesion.slope(voxels.ce, voxels.q)
        of_lesions = slope * torch.where(voxels.is_true, -voxels.q, voxels.p)
        return part.lesions.put(gradient, of_lesions[-gradient.shape[1] :])


@dataclass(frozen=True)
class Counts:
    """TP, FP, FN, TN of the lesion classes, (R, K-1), or of all, (R, K)."""

    sharpen: float
    average_background: bool

    def readable(self, batch: Batch) -> tuple[Tensor, ...]:
        """See `Request`."""
        return READABLE.counts(batch, self.sharpen, self.average_background)

    def sums(self, part: Part) -> tuple[Tensor, ...]:
        """See `Request`."""
        positive = part.wrong.sum(-1)  # of each class but, in column 0, of all lesion classes together
        raised = positive if self.sharpen == 1 else _raised(part.wrong, self.sharpen).sum(-1)
        voxels = _lesion_voxels(part)
        p, t, zero = voxels.p, voxels.is_true, voxels.q.new_zeros(())
        parts = [torch.where(t, p, zero), torch.where(t, zero, _raised(p, self.sharpen))]
        parts += [torch.where(t, _raised(voxels.q, self.sharpen), zero), torch.where(t, zero, 1 - p)]
        tp, fp, fn, tn = (part.lesions.sums(values) for values in parts)
        negative = part.background_voxels() - positive
        fp[:, 1:] += raised[:, -(part.classes - 1) :]
        tn[:, 1:] += negative[:, -(part.classes - 1) :]
        if not self.average_background:
            return tp[:, 1:], fp[:, 1:], fn[:, 1:], tn[:, 1:]
        tp[:, 0] += negative[:, 0]
        fn[:, 0] += raised[:, 0]
        return tp, fp, fn, tn

    def gradient(self, part: Part, grads: Grads) -> Tensor:
        """See `Request`."""
        every = [_of_all_classes(grad, part) for grad in grads]
        with_tn = grads[3] is not None or self.average_background
        gradient = (_single_gradient if part.logits.shape[1] == 1 else _class_gradient)(
            part, self.sharpen, every, with_tn
        )
        return part.lesions.put(gradient, _lesion_gradient(part, self.sharpen, every)[-gradient.shape[1] :])


def _of_all_classes(grad: Tensor | None, part: Part) -> Tensor:
    """Weights of the counts of all classes, (R, K); None and missing classes: 0."""
    every = part.wrong.new_zeros((len(part.wrong), part.classes))
    if grad is not None:
        every[:, part.classes - grad.shape[1] :] = grad
    return every


def _single_gradient(part: Part, s: float, grads: list[Tensor], with_tn: bool) -> Tensor:
    """Of background voxels: p (1 - p) (s fp p^(s - 1) - tn). What is TN for the lesion class is TP for the other."""
    p, (tp, fp, fn, tn) = part.wrong, (grad[:, :, None] for grad in grads)
    of_positive, of_negative = fp[:, 1:] + fn[:, :1], tn[:, 1:] + tp[:, :1]
    gradient = torch.sub(1, p).mul_(p)
    if s == 1:
        return gradient.mul_(of_positive - of_negative)
    factor = _raised(p, s - 1) * (s * of_positive)
    return gradient.mul_(factor.sub_(of_negative) if with_tn else factor)


def _class_gradient(part: Part, s: float, grads: list[Tensor], with_tn: bool) -> Tensor:
    """Of background voxels: p_c (A_c - Σ_k A_k p_k), where A_c is the derivative by p_c with the others held."""
    q, p, (tp, fp, fn, tn) = part.wrong[:, :1], part.wrong[:, 1:], (grad[:, :, None] for grad in grads)
    gradient = torch.empty_like(part.wrong)
    if s == 1:
        slopes, of_background = (fp - tn)[:, 1:], (tp - fn)[:, :1]
        common = torch.bmm(slopes.transpose(1, 2), p)
    else:
        slopes = torch.mul(_raised(p, s - 1), s * fp[:, 1:], out=gradient[:, 1:])
        if with_tn:
            slopes.sub_(tn[:, 1:])
        of_background = tp[:, :1] - s * fn[:, :1] * _raised(q, s - 1)
        common = (slopes * p).sum(1, keepdim=True)
    right = 1 - q
    torch.mul(right, of_background * q - common, out=gradient[:, :1])
    torch.sub(slopes, common + of_background * right, out=gradient[:, 1:]).mul_(p)
    return gradient


def _lesion_gradient(part: Part, s: float, grads: list[Tensor]) -> Tensor:
    voxels, (tp, fp, fn, tn) = _lesion_voxels(part), (part.lesions.spread(grad) for grad in grads)
    p = voxels.p
    slope = torch.where(voxels.is_true, tp - s * fn * _raised(voxels.q, s - 1), s * fp * _raised(p, s - 1) - tn)
    # Softmax gradients don't change when all slopes move together; at 0 for the surest class nothing cancels.
    slope = slope - torch.where(p == p.amax(0), slope, -torch.inf).amax(0)
    return p * (slope - (slope * p).sum(0))


FAST = Fast()
