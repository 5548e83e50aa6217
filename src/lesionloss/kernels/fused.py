"""All sums of a loss in one pass over the voxels, and one gradient for all of them, written once.

Lesions are few: their voxels are looked up and treated apart, so that the many others, all background, need no
reference, no one-hot labels and no selection. Kept for the backward pass are the logits, the labels and the mask.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lesionloss.kernels import background, compiled
from lesionloss.kernels.background import Image
from lesionloss.kernels.lesions import lesion_gradient, lesion_sums, lesion_voxels, positions
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.terms import CrossEntropy, Term

if TYPE_CHECKING:
    from lesionloss.voxels import Voxels


@dataclass(frozen=True)
class Engine:
    """Who goes through the background voxels of one image."""

    sums: Callable[[Image, Plan], Tensor]
    gradient: Callable[[Image, Plan, Tensor, Tensor], None]


TORCH = Engine(background.background_sums, background.background_gradient)


@dataclass(frozen=True)
class Job:
    """A batch and what is wanted of it, without the logits: those are the input of the pass."""

    labels: Tensor  # (R, V) class numbers
    valid: Tensor | None  # (R, V) bool
    plan: Plan
    engine: Engine

    def images(self, logits: Tensor, where: Tensor) -> list[tuple[Image, Tensor]]:
        """Each row, with the labels of its lesion voxels, given their positions in the batch."""
        voxels, labels = logits.shape[-1], self.labels.reshape(-1)
        bounds = torch.searchsorted(where, torch.arange(len(logits) + 1) * voxels).tolist()
        rows = []
        for row, (low, high) in enumerate(itertools.pairwise(bounds)):
            valid = None if self.valid is None else self.valid[row]
            image = Image(logits[row], valid, where[low:high] - row * voxels)
            rows.append((image, labels[where[low:high]]))
        return rows

    def sums(self, logits: Tensor, where: Tensor) -> Tensor:
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        rows = []
        for image, labels in self.images(logits, where):
            valid = logits.shape[-1] if image.valid is None else int(image.valid.sum())
            row = self.engine.sums(image, self.plan) @ raw.matrix + (valid - len(labels)) * raw.per_voxel
            for where_few, labels_few in _pieces(image, labels):
                row += lesion_sums(lesion_voxels(image.logits[:, where_few], labels_few), self.plan)
            rows.append(row)
        return torch.stack(rows).to(logits.dtype)

    def gradient(self, logits: Tensor, weights: Tensor) -> Tensor:
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        out = torch.empty_like(logits, memory_format=torch.contiguous_format)
        images = self.images(logits, positions(self.labels))
        for (image, labels), of_row, into in zip(images, weights, out, strict=True):
            self.engine.gradient(image, self.plan, raw.matrix @ of_row.double(), into)
            for where_few, labels_few in _pieces(image, labels):
                voxels = lesion_voxels(image.logits[:, where_few], labels_few)
                into.index_copy_(1, where_few, lesion_gradient(voxels, self.plan, of_row))
        return out

    def readable_sums(self, logits: Tensor) -> Tensor:
        """The same as autograd can follow, any number of times."""
        from lesionloss.voxels import Voxels

        v = Voxels(logits, self.labels, self.valid, READABLE)
        parts = [part for sharpen in self.plan.sharpens for part in READABLE.counts(v, sharpen, True)]
        for pair in self.plan.pairs:
            parts += [part[:, None] for part in READABLE.term_sums(v, *pair)]
        return torch.cat(parts, dim=1)


def _pieces(image: Image, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Lesion voxels in portions, for images where they are not few."""
    size = max(1, background.CHUNK // len(image.logits))
    for start in range(0, len(labels), size):
        yield image.lesions[start : start + size], labels[start : start + size]


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(logits: Tensor, labels: Tensor, valid: Tensor | None, where: Tensor, job: Job) -> Tensor:
        return job.sums(logits.contiguous(), where)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, Tensor, Job], output: Tensor) -> None:
        logits, labels, valid, _, job = inputs
        ctx.save_for_backward(logits, labels, valid)
        ctx.job = job

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = grads
        logits: Tensor = ctx.saved_tensors[0]
        job: Job = ctx.job
        if not torch.is_grad_enabled():
            return job.gradient(logits.contiguous(), weights), None, None, None, None
        # A gradient that is to be differentiated again is made of operations that autograd knows.
        with torch.enable_grad():
            sums = job.readable_sums(logits)
            (gradient,) = torch.autograd.grad(sums, logits, weights, create_graph=True)
        return gradient, None, None, None, None


def _vanishes(term: Term, like: Tensor) -> bool:
    """Whether a voxel without any error costs and pulls nothing, as voxels that are left out must."""
    if type(term) is CrossEntropy:
        return True
    zero = like.new_zeros(1)
    return bool(term.value(zero, zero) == 0) and bool(torch.isfinite(term.slope(zero, zero)))


@dataclass(frozen=True)
class Fused:
    """The sums of `READABLE`, for class numbers on the CPU; whatever else comes goes the readable way."""

    name: str
    engine: Engine

    def class_voxels(self, v: "Voxels") -> Tensor:
        if v.soft or v.logits.device.type != "cpu":
            return READABLE.class_voxels(v)
        where = v.lesion_positions
        rows = torch.div(where, v.labels.shape[1], rounding_mode="floor")
        cells = rows * v.classes + v.labels.reshape(-1)[where]
        counted = torch.bincount(cells, minlength=len(v.labels) * v.classes).view(-1, v.classes)
        valid = v.labels.shape[1] if v.valid is None else v.valid.sum(1)
        counted[:, 0] = valid - counted.sum(1)
        return v.pool(counted.to(v.logits.dtype))

    def counts(self, v: "Voxels", sharpen: float, background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if sharpen < 1 or not self._takes(v):
            return READABLE.counts(v, sharpen, background)
        columns = self._columns(v, Plan(sharpens=(sharpen,)))
        tp, fp, fn, tn = v.pool(columns).view(-1, 4, v.classes)[..., 0 if background else 1 :].unbind(1)
        return tp, fp, fn, tn

    def term_sums(self, v: "Voxels", lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        if not self._takes(v) or not _vanishes(background, v.logits):
            return READABLE.term_sums(v, lesion, background)
        columns = self._columns(v, Plan(pairs=((lesion, background),)))
        of_lesion, of_background = v.pool(columns).unbind(1)
        return of_lesion, of_background

    def _takes(self, v: "Voxels") -> bool:
        return not v.soft and v.logits.device.type == "cpu" and v.logits.dtype in (torch.float32, torch.float64)

    def _columns(self, v: "Voxels", wanted: Plan) -> Tensor:
        """One result, (R, columns); with the first, all that the loss is going to ask for is computed."""
        missing = (wanted | _safe(v.plan or wanted, v.logits)) - v.results.plan
        if wanted - v.results.plan:
            job = Job(v.labels, v.valid, missing, self.engine)
            sums: Tensor = _Sums.apply(v.logits, v.labels, v.valid, v.lesion_positions, job)  # type: ignore[no-untyped-call]
            sizes = [4 * v.classes] * len(missing.sharpens) + [2] * len(missing.pairs)
            v.results.add(missing, torch.split(sums, sizes, dim=1))
        return v.results.of(wanted)


def _safe(plan: Plan, like: Tensor) -> Plan:
    return Plan(
        tuple(sharpen for sharpen in plan.sharpens if sharpen >= 1),
        tuple(pair for pair in plan.pairs if _vanishes(pair[1], like)),
    )


FUSED = Fused("fused", TORCH)
COMPILED = Fused("compiled", Engine(compiled.compiled_sums, compiled.compiled_gradient))
