"""What a loss may ask for: sums of terms and soft counts, each with its sums and its gradient.

A request has `readable(batch)`, the sums by the equations (for second derivatives); `sums(part)`, the same sums; and
`gradient(part, grads)`, the gradient (R, C, V) of Σ grads · sums; a grad is None where its sum was not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lesionloss.losses.batch import Batch
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.selection import Selection
from lesionloss.losses.kernels.terms import CrossEntropy, Term

Grads = tuple[Tensor | None, ...]
PIECE = 1 << 19  # numbers that are worked on at a time on a CPU, so that they stay in its cache
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

    def valid_voxels(self) -> Tensor | int:
        """The number of valid voxels of each row, (R, 1)."""
        return self.labels.shape[1] if self.valid is None else self.valid.sum(1, keepdim=True)


def _or_zeros(grad: Tensor | None, like: Tensor) -> Tensor:
    """Weights of a count, (R, C); None: 0."""
    return like.new_zeros(like.shape[:2]) if grad is None else grad


def _pieces(first: Tensor, *more: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors (R, C, V) or (R, V), cut into the same short runs of voxels; the first is the largest."""
    on_cpu = first.device.type == "cpu"
    step = max(1, PIECE * first.shape[-1] // first.numel()) if on_cpu else first.shape[-1]
    return zip(*(torch.split(x, step, dim=-1) for x in (first, *more)), strict=True)


def _power_sums(x: Tensor, power: float) -> Tensor:
    """Σ x^power over the voxels of (R, C, V): (R, C)."""
    if power == 2:
        return torch.stack([torch.linalg.vector_norm(piece, dim=-1).square() for (piece,) in _pieces(x)]).sum(0)
    return torch.stack([piece.pow(power).sum(-1) for (piece,) in _pieces(x)]).sum(0)


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


def _background_cross_entropy(logits: Tensor, q: Tensor) -> Tensor:
    """-log(1 - q), (R, V), by the logits (R, C, V) where q is nearly 1."""
    ce = torch.neg(q).log1p_().neg_()
    if q.device.type == "cpu" and float(q.amax()) <= CONFIDENT:
        return ce
    single = logits.shape[1] == 1
    exact = softplus(logits[:, 0], threshold=LINEAR) if single else torch.logsumexp(logits, dim=1) - logits[:, 0]
    return torch.where(q > CONFIDENT, exact, ce)


@dataclass(frozen=True)
class Terms:
    """Σ `lesion` over lesion voxels and Σ `background` over background voxels, (R,) each."""

    lesion: Term
    background: Term

    def readable(self, batch: Batch) -> tuple[Tensor, ...]:
        """See above."""
        return READABLE.term_sums(batch, self.lesion, self.background)

    def sums(self, part: Part) -> tuple[Tensor, ...]:
        """See above."""
        voxels = _lesion_voxels(part)
        on_lesion = part.lesions.sums(self.lesion.value(voxels.ce, voxels.q)[None])[:, 0]
        on_background = []
        for logits, wrong in _pieces(part.logits, part.wrong):
            ce = _background_cross_entropy(logits, wrong[:, 0])
            on_background.append(self.background.value(ce, wrong[:, 0]).sum(-1))
        return on_lesion, torch.stack(on_background).sum(0)

    def gradient(self, part: Part, grads: Grads) -> Tensor:
        """See above: slope times p, but for the true class slope times p - 1."""
        none = part.wrong.new_zeros(part.wrong.shape[0])
        on_lesion, on_background = (none if grad is None else grad for grad in grads)
        gradient = torch.empty_like(part.wrong)
        for logits, wrong, out in _pieces(part.logits, part.wrong, gradient):
            torch.mul(wrong, on_background.view(-1, 1, 1), out=out)
            if not isinstance(self.background, CrossEntropy):
                ce = _background_cross_entropy(logits, wrong[:, 0])
                out.mul_(self.background.slope(ce, wrong[:, 0])[:, None])
            if part.classes > 2:
                out[:, 0].neg_()
        voxels = _lesion_voxels(part)
        slope = part.lesions.spread(on_lesion.view(-1, 1)) * self.lesion.slope(voxels.ce, voxels.q)
        of_lesions = slope * torch.where(voxels.is_true, -voxels.q, voxels.p)
        return part.lesions.put(gradient, of_lesions[-gradient.shape[1] :])


@dataclass(frozen=True)
class SingleCounts:
    """TP, FP, FN, TN of the lesion class where there is one logit, (R, 1)."""

    sharpen: float

    def readable(self, batch: Batch) -> tuple[Tensor, ...]:
        """See above."""
        return READABLE.counts(batch, self.sharpen, False)

    def sums(self, part: Part) -> tuple[Tensor, ...]:
        """See above."""
        positive = part.wrong.sum(-1)
        raised = positive if self.sharpen == 1 else _power_sums(part.wrong, self.sharpen)
        z = part.lesions.take(part.logits)
        columns = torch.cat([torch.sigmoid(z), _raised(torch.sigmoid(-z), self.sharpen), torch.ones_like(z)])
        tp, fn, lesions = torch.split(part.lesions.sums(columns), 1, dim=1)
        return tp, raised, fn, part.valid_voxels() - lesions - positive

    def gradient(self, part: Part, grads: Grads) -> Tensor:
        """See above: p q (s fp p^(s - 1) - tn) of background, p q (tp - s fn q^(s - 1)) of lesions."""
        s, lesions, gradient = self.sharpen, part.lesions, torch.empty_like(part.wrong)
        tp, fp, fn, tn = (_or_zeros(grad, part.wrong) for grad in grads)
        for p, out in _pieces(part.wrong, gradient):
            if s == 1:
                slope = (fp - tn)[:, :, None].expand_as(p)
            else:
                slope = torch.mul(_raised(p, s - 1), (s * fp)[:, :, None], out=out)
                slope = slope if grads[3] is None else slope.sub_(tn[:, :, None])
            torch.ops.aten.sigmoid_backward.grad_input(slope, p, grad_input=out)  # slope p q, in one pass
        z = lesions.take(part.logits)
        q = torch.sigmoid(-z)
        slope = lesions.spread(tp) - lesions.spread(s * fn) * (_raised(q, s - 1) if s != 1 else 1)
        return lesions.put(gradient, slope * q * torch.sigmoid(z))


@dataclass(frozen=True)
class ClassCounts:
    """TP, FP, FN, TN of all of several classes, (R, K)."""

    sharpen: float

    def readable(self, batch: Batch) -> tuple[Tensor, ...]:
        """See above."""
        return READABLE.counts(batch, self.sharpen, True)

    def sums(self, part: Part) -> tuple[Tensor, ...]:
        """See above."""
        positive = part.wrong.sum(-1)  # of each class but, in column 0, of all lesion classes together
        raised = positive if self.sharpen == 1 else _power_sums(part.wrong, self.sharpen)
        voxels = _lesion_voxels(part)
        p, t, zero = voxels.p, voxels.is_true, voxels.q.new_zeros(())
        columns = [torch.where(t, p, zero), torch.where(t, zero, _raised(p, self.sharpen))]
        columns += [torch.where(t, _raised(voxels.q, self.sharpen), zero), torch.where(t, zero, 1 - p)]
        sums = part.lesions.sums(torch.cat([*columns, torch.ones_like(p[:1])]))
        *counts, lesions = torch.split(sums, part.classes, dim=1)
        tp, fp, fn, tn = counts
        negative = part.valid_voxels() - lesions - positive
        tp[:, 0] += negative[:, 0]
        fp[:, 1:] += raised[:, 1:]
        fn[:, 0] += raised[:, 0]
        tn[:, 1:] += negative[:, 1:]
        return tp, fp, fn, tn

    def gradient(self, part: Part, grads: Grads) -> Tensor:
        """See above: p_c (A_c - Σ_k A_k p_k), where A_c is the derivative by p_c with the others held."""
        every, gradient = [_or_zeros(grad, part.wrong) for grad in grads], torch.empty_like(part.wrong)
        tp, fp, fn, tn = (grad[:, :, None] for grad in every)
        for wrong, out in _pieces(part.wrong, gradient):
            self._write_background(wrong, out, tp, fp, fn, None if grads[3] is None else tn)
        return part.lesions.put(gradient, self._of_lesions(part, every))

    def _write_background(
        self, wrong: Tensor, out: Tensor, tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor | None
    ) -> None:
        q, p, s = wrong[:, :1], wrong[:, 1:], self.sharpen
        if s == 1:
            slopes, of_background = (fp if tn is None else fp - tn)[:, 1:], (tp - fn)[:, :1]
            common = torch.bmm(slopes.transpose(1, 2), p)
        else:
            slopes = torch.mul(_raised(p, s - 1), s * fp[:, 1:], out=out[:, 1:])
            slopes = slopes if tn is None else slopes.sub_(tn[:, 1:])
            of_background = tp[:, :1] - s * fn[:, :1] * _raised(q, s - 1)
            common = (slopes * p).sum(1, keepdim=True)
        right = 1 - q
        torch.mul(right, of_background * q - common, out=out[:, :1])
        torch.sub(slopes, common + of_background * right, out=out[:, 1:]).mul_(p)

    def _of_lesions(self, part: Part, grads: list[Tensor]) -> Tensor:
        voxels, s = _lesion_voxels(part), self.sharpen
        tp, fp, fn, tn = (part.lesions.spread(grad) for grad in grads)
        if s == 1:
            slope = torch.where(voxels.is_true, tp - fn, fp - tn)
        else:
            right, wrong = tp - s * fn * _raised(voxels.q, s - 1), s * fp * _raised(voxels.p, s - 1) - tn
            slope = torch.where(voxels.is_true, right, wrong)
        # Softmax gradients don't change when all slopes move together; at 0 for the surest class nothing cancels.
        slope = slope - torch.where(voxels.p == voxels.p.amax(0), slope, -torch.inf).amax(0)
        return voxels.p * (slope - (slope * voxels.p).sum(0))


Request = Terms | SingleCounts | ClassCounts
