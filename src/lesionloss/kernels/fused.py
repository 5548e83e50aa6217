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
from lesionloss.kernels.lesions import LesionVoxels, lesion_columns, lesion_gradient, lesion_voxels, positions
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.terms import CrossEntropy, Term

if TYPE_CHECKING:
    from lesionloss.voxels import Voxels


FEW = 0.05  # positions of lesion voxels are kept for the backward pass if they take no more than that of the logits


@dataclass(frozen=True)
class Engine:
    """Who finds the lesions and goes through the background voxels of images."""

    positions: Callable[[Tensor], Tensor]
    sums: Callable[[list[Image], Plan], Tensor]
    gradient: Callable[
        [list[Image], Plan, Tensor, list[Tensor]], None
    ]  # what it writes at lesion voxels does not matter
    keeps_p: bool  # between the passes, of a single logit; else nothing is kept


TORCH = Engine(positions, background.background_sums, background.background_gradient, keeps_p=True)


@dataclass(frozen=True)
class Job:
    """A batch and what is wanted of it, without the logits: those are the input of the pass."""

    labels: Tensor  # (R, V) class numbers
    valid: Tensor | None  # (R, V) bool
    plan: Plan
    engine: Engine

    def images(self, logits: Tensor, where: Tensor, p: Tensor, known: bool) -> list[Image]:
        """Each row, given the positions of lesion voxels in the batch."""
        voxels = logits.shape[-1]
        bounds = _bounds(where, torch.arange(len(logits) + 1) * voxels)
        images = []
        for row, (low, high) in enumerate(itertools.pairwise(bounds)):
            valid, lesions = None if self.valid is None else self.valid[row], where[low:high] - row * voxels
            images.append(Image(logits[row], valid, lesions, p[row] if len(p) else None, known))
        return images

    def sums(self, logits: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The results, (R, columns), and the p that is kept, or an empty tensor."""
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        p = torch.empty_like(logits) if self.engine.keeps_p and logits.shape[1] == 1 else logits.new_empty(0)
        images = self.images(logits, where, p, known=False)
        sums = self.engine.sums(images, self.plan)
        valid = [logits.shape[-1] if image.valid is None else int(image.valid.sum()) for image in images]
        voxels = torch.tensor([n - len(image.lesions) for n, image in zip(valid, images, strict=True)])
        results = sums @ raw.matrix + voxels[:, None] * raw.per_voxel
        if logits.shape[1] == 1:
            return (results + self._mirrored_sums(logits, images, where)).to(logits.dtype), p
        for few in self._lesions(logits, where):
            columns = lesion_columns(few.voxels, self.plan)
            bounds = _bounds(few.row, torch.arange(len(logits) + 1))
            for row, (low, high) in enumerate(itertools.pairwise(bounds)):
                results[row] += columns[:, low:high].sum(1, dtype=torch.float64)
        return results.to(logits.dtype), p

    def gradient(self, logits: Tensor, weights: Tensor, where: Tensor, p: Tensor) -> Tensor:
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        out = torch.empty_like(logits)
        of_raw = weights.double() @ raw.matrix.T
        images = self.images(logits, where, p, known=True)
        self.engine.gradient(images, self.plan, of_raw, list(out))
        if logits.shape[1] == 1:
            self._add_mirrored_gradient(logits, images, where, weights, out)
            return out
        for few in self._lesions(logits, where):
            pull = lesion_gradient(few.voxels, self.plan, weights.T.contiguous().index_select(1, few.row))
            out.view(-1).scatter_(0, few.at.view(-1), pull.reshape(-1))
        return out

    def _mirrored_sums(self, logits: Tensor, images: list[Image], where: Tensor) -> Tensor:
        """With one logit, lesion voxels are background voxels once both classes and the sign change places."""
        raw, plan = raw_of(self.plan, 2), self.plan.mirrored
        sums = self.engine.sums(_mirror(logits, images, where), plan)
        voxels = torch.tensor([[len(image.lesions)] for image in images])
        return (sums @ raw.matrix + voxels * raw.per_voxel)[:, _other_class(raw.per_voxel)]

    def _add_mirrored_gradient(
        self, logits: Tensor, images: list[Image], where: Tensor, weights: Tensor, out: Tensor
    ) -> None:
        raw, plan = raw_of(self.plan, 2), self.plan.mirrored
        of_raw = weights[:, _other_class(raw.per_voxel)].double() @ raw.matrix.T
        pull = logits.new_empty((1, len(where)))
        parts = torch.split(pull, [len(image.lesions) for image in images], dim=1)
        self.engine.gradient(_mirror(logits, images, where), plan, of_raw, list(parts))
        out.view(-1).index_copy_(0, where, pull[0].neg_())

    def _lesions(self, logits: Tensor, where: Tensor) -> Iterator["_Few"]:
        """Lesion voxels of all rows, in portions for batches where they are not few."""
        channels, voxels = logits.shape[1:]
        labels = self.labels.reshape(-1)
        channel = torch.arange(channels)[:, None]
        for some in torch.split(where, max(1, background.CHUNK // channels)) if len(where) else ():
            row = torch.div(some, voxels, rounding_mode="floor")
            at = some + (row * (channels - 1) + channel) * voxels
            few = logits.view(-1).index_select(0, at.view(-1)).view(at.shape)
            yield _Few(row, at, lesion_voxels(few, labels.index_select(0, some)))

    def readable_sums(self, logits: Tensor) -> Tensor:
        """The same as autograd can follow, any number of times."""
        from lesionloss.voxels import Voxels

        v = Voxels(logits, self.labels, self.valid, READABLE)
        parts = [part for sharpen in self.plan.sharpens for part in READABLE.counts(v, sharpen, True)]
        for pair in self.plan.pairs:
            parts += [part[:, None] for part in READABLE.term_sums(v, *pair)]
        return torch.cat(parts, dim=1)


def _mirror(logits: Tensor, images: list[Image], where: Tensor) -> list[Image]:
    flipped = logits.view(-1).index_select(0, where).neg_()
    parts: tuple[Tensor, ...] = torch.split(flipped, [len(image.lesions) for image in images])
    return [Image(part[None], None, where[:0]) for part in parts]


def _other_class(columns: Tensor) -> Tensor:
    """Results come in pairs: background and lesion of a count, lesion and background of a term."""
    return torch.arange(len(columns)) ^ 1


@dataclass(frozen=True)
class _Few:
    row: Tensor  # (n,)
    at: Tensor  # (C, n): positions of their logits in the flat batch
    voxels: LesionVoxels


def _bounds(where: Tensor, edges: Tensor) -> list[int]:
    bounds: list[int] = torch.searchsorted(where, edges).tolist()
    return bounds


_Inputs = tuple[Tensor, Tensor, Tensor | None, Tensor, Job]


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(logits: Tensor, labels: Tensor, valid: Tensor | None, where: Tensor, job: Job) -> tuple[Tensor, Tensor]:
        return job.sums(logits.contiguous(), where)

    @staticmethod
    def setup_context(ctx: Any, inputs: _Inputs, output: tuple[Tensor, Tensor]) -> None:
        logits, labels, valid, where, job = inputs
        few = where.nbytes <= FEW * logits.nbytes
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, labels, valid, where if few else None, output[1])
        ctx.job = job

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        weights = grads[0]
        if weights is None:
            return None, None, None, None, None
        logits, labels, _, where, p = ctx.saved_tensors
        job: Job = ctx.job
        if not torch.is_grad_enabled():
            where = job.engine.positions(labels) if where is None else where
            return job.gradient(logits.contiguous(), weights, where, p), None, None, None, None
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
        where = self._where(v)
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

    def _where(self, v: "Voxels") -> Tensor:
        if v.results.where is None:
            v.results.where = self.engine.positions(v.labels)
        return v.results.where

    def _columns(self, v: "Voxels", wanted: Plan) -> Tensor:
        """One result, (R, columns); with the first, all that the loss is going to ask for is computed."""
        missing = (wanted | _safe(v.plan or wanted, v.logits)) - v.results.plan
        if wanted - v.results.plan:
            job = Job(v.labels, v.valid, missing, self.engine)
            sums, _ = _Sums.apply(v.logits, v.labels, v.valid, self._where(v), job)  # type: ignore[no-untyped-call]
            sizes = [4 * v.classes] * len(missing.sharpens) + [2] * len(missing.pairs)
            v.results.add(missing, torch.split(sums, sizes, dim=1))
        return v.results.of(wanted)


def _safe(plan: Plan, like: Tensor) -> Plan:
    return Plan(
        tuple(sharpen for sharpen in plan.sharpens if sharpen >= 1),
        tuple(pair for pair in plan.pairs if _vanishes(pair[1], like)),
    )


FUSED = Fused("fused", TORCH)
COMPILED = Fused(
    "compiled",
    Engine(compiled.compiled_positions, compiled.compiled_sums, compiled.compiled_gradient, keeps_p=False),
)
