"""All sums of a loss in one pass over the voxels, and one gradient for all of them, written once.

Lesions are few: their voxels are looked up and treated apart, so that the many others, all background, need no
reference, no one-hot labels and no selection. Kept for the backward pass are the logits, the labels and the mask.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lesionloss.kernels import background, compiled, on_cuda, single
from lesionloss.kernels.background import Image
from lesionloss.kernels.lesions import LesionVoxels, lesion_columns, lesion_gradient, lesion_voxels, positions
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.terms import CrossEntropy, Term
from lesionloss.kernels.walked import Walk, other_class, walk_gradient, walk_sums

if TYPE_CHECKING:
    from lesionloss.voxels import Voxels


FEW = 0.05  # positions of lesion voxels are kept for the backward pass if they take no more than that of the logits


@dataclass(frozen=True)
class Engine:
    """Who finds the lesions and goes through the background voxels.

    What a gradient writes at lesion voxels does not matter: it is written over.
    """

    positions: Callable[[Tensor], Tensor]
    single_sums: Callable[[Tensor, Tensor, Tensor | None, Plan], tuple[Tensor, Tensor]]
    single_gradient: Callable[[Tensor, Tensor, Tensor | None, Plan, Tensor, Tensor], None]
    sums: Callable[[list[Image], Plan], Tensor]
    gradient: Callable[[list[Image], Plan, Tensor, list[Tensor]], None]
    walk: Walk | None  # for losses of counts and cross-entropies on one logit


TORCH = Engine(
    positions,
    single.single_sums,
    single.single_gradient,
    background.background_sums,
    background.background_gradient,
    walk=None,
)


@dataclass(frozen=True)
class Job:
    """A batch and what is wanted of it, without the logits: those are the input of the pass."""

    labels: Tensor  # (R, V) class numbers
    valid: Tensor | None  # (R, V) bool
    plan: Plan
    engine: Engine

    def sums(self, logits: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The results, (R, columns), and the p that is kept, or an empty tensor."""
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        valid = logits.shape[-1] if self.valid is None else self.valid.sum(1)
        rows = torch.div(where, logits.shape[-1], rounding_mode="floor")
        lesions = torch.bincount(rows, minlength=len(logits))
        voxels = (valid - lesions)[:, None]
        if logits.shape[1] == 1:
            sums, p = self.engine.single_sums(logits[:, 0], where, self.valid, self.plan)
            results = sums @ raw.matrix + voxels * raw.per_voxel
            mirrored = single.listed_sums(_listed(logits, where), rows, len(logits), self.plan.mirrored)
            of_lesions = mirrored @ raw.matrix + lesions[:, None] * raw.per_voxel
            return (results + of_lesions[:, other_class(raw.per_voxel)]).to(logits.dtype), p
        results = self.engine.sums(self._images(logits, where), self.plan) @ raw.matrix + voxels * raw.per_voxel
        for few in self._lesions(logits, where):
            columns = lesion_columns(few.voxels, self.plan)
            bounds = _bounds(few.row, torch.arange(len(logits) + 1))
            for row, (low, high) in enumerate(itertools.pairwise(bounds)):
                results[row] += columns[:, low:high].sum(1, dtype=torch.float64)
        return results.to(logits.dtype), logits.new_empty(0)

    def gradient(self, logits: Tensor, weights: Tensor, where: Tensor, p: Tensor) -> Tensor:
        """d(weights · results) / d logits, given what `sums` kept."""
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        out = torch.empty_like(logits)
        of_raw = weights.double() @ raw.matrix.T
        if logits.shape[1] == 1:
            self.engine.single_gradient(p, logits[:, 0], self.valid, self.plan, of_raw, out[:, 0])
            of_mirrored = (weights[:, other_class(raw.per_voxel)].double() @ raw.matrix.T).to(logits.dtype)
            rows = torch.div(where, logits.shape[-1], rounding_mode="floor")
            pull = single.listed_gradient(_listed(logits, where), self.plan.mirrored, of_mirrored.T[:, rows])
            out.view(-1).index_copy_(0, where, pull.neg_())
            return out
        self.engine.gradient(self._images(logits, where), self.plan, of_raw, list(out))
        for few in self._lesions(logits, where):
            pull = lesion_gradient(few.voxels, self.plan, weights.T.contiguous().index_select(1, few.row))
            out.view(-1).scatter_(0, few.at.view(-1), pull.reshape(-1))
        return out

    def _images(self, logits: Tensor, where: Tensor) -> list[Image]:
        """Each row, given the positions of lesion voxels in the batch."""
        voxels = logits.shape[-1]
        bounds = _bounds(where, torch.arange(len(logits) + 1) * voxels)
        return [
            Image(logits[row], None if self.valid is None else self.valid[row], where[low:high] - row * voxels)
            for row, (low, high) in enumerate(itertools.pairwise(bounds))
        ]

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

    @property
    def walk(self) -> Walk:
        """The engine's; only asked for where there is one."""
        if self.engine.walk is None:
            raise TypeError("this engine does not walk")
        return self.engine.walk

    def gradient_again(self, logits: Tensor, weights: Tensor) -> Tensor:
        """A gradient that is to be differentiated again, made of operations that autograd knows."""
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self._readable_sums(logits), logits, weights, create_graph=True)
        return gradient

    def _readable_sums(self, logits: Tensor) -> Tensor:
        from lesionloss.voxels import Voxels

        v = Voxels(logits, self.labels, self.valid, READABLE)
        parts = [part for sharpen in self.plan.sharpens for part in READABLE.counts(v, sharpen, True)]
        for pair in self.plan.pairs:
            parts += [part[:, None] for part in READABLE.term_sums(v, *pair)]
        return torch.cat(parts, dim=1)


def _listed(logits: Tensor, where: Tensor) -> single.Errors:
    """The lesion voxels of a batch with one logit."""
    margin = logits.view(-1).index_select(0, where).neg_()
    return single.Errors(margin, torch.sigmoid(margin))


@dataclass(frozen=True)
class _Few:
    row: Tensor  # (n,)
    at: Tensor  # (C, n): positions of their logits in the flat batch
    voxels: LesionVoxels


def _bounds(where: Tensor, edges: Tensor) -> list[int]:
    bounds: list[int] = torch.searchsorted(where, edges).tolist()
    return bounds


class _Sums(torch.autograd.Function):
    """(logits, positions of lesion voxels, job) -> results (R, columns)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, where: Tensor, job: Job) -> Tensor:
        results, p = job.sums(logits.contiguous(), where)
        few = where.nbytes <= FEW * logits.nbytes
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, job.labels, job.valid, where if few else None, p)
        ctx.job = job
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        weights = grads[0]
        if weights is None:
            return None, None, None
        logits, labels, _, where, p = ctx.saved_tensors
        job: Job = ctx.job
        if not torch.is_grad_enabled():
            where = job.engine.positions(labels) if where is None else where
            return job.gradient(logits.contiguous(), weights, where, p), None, None
        return job.gradient_again(logits, weights), None, None


class _Walk(torch.autograd.Function):
    """(logits (R, 1, V), job) -> results (R, columns) and the number of lesion voxels (R,); keeps nothing."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, job: Job) -> tuple[Tensor, Tensor]:
        results, lesions = walk_sums(job.walk, logits[:, 0], job.labels, job.valid, job.plan)
        ctx.mark_non_differentiable(lesions)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, job.labels, job.valid)
        ctx.job = job
        return results, lesions

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        weights = grads[0]
        if weights is None:
            return None, None
        logits, labels, valid = ctx.saved_tensors
        job: Job = ctx.job
        if torch.is_grad_enabled():
            return job.gradient_again(logits, weights), None
        return walk_gradient(job.walk, logits[:, 0], labels, valid, job.plan, weights)[:, None], None


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

    def looks(self, v: "Voxels") -> bool:
        return self._walks(v, v.plan) and v.logits.device.type == "cpu"

    def class_voxels(self, v: "Voxels") -> Tensor:
        if self._walks(v, v.plan):
            return v.pool(self._walked_class_voxels(v))
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

    def _walks(self, v: "Voxels", plan: Plan | None) -> bool:
        walk = self.engine.walk
        if not plan or walk is None or v.soft or v.classes > 2 or not plan.is_plain or not walk.ready():
            return False
        small = v.labels.dtype in (torch.uint8, torch.bool)
        return small and v.logits.dtype == torch.float32 and v.logits.device.type == walk.device

    def _walked_class_voxels(self, v: "Voxels") -> Tensor:
        if v.results.lesions is None:
            self._compute(v, v.plan or Plan())
        lesions = v.logits.new_zeros(()) if v.results.lesions is None else v.results.lesions
        background = (v.labels.shape[1] if v.valid is None else v.valid.sum(1)) - lesions
        return torch.stack([background, lesions], dim=1).to(v.logits.dtype)

    def _takes(self, v: "Voxels") -> bool:
        if self._walks(v, v.plan):
            return True
        return not v.soft and v.logits.device.type == "cpu" and v.logits.dtype in (torch.float32, torch.float64)

    def _where(self, v: "Voxels") -> Tensor:
        if v.results.where is None:
            v.results.where = self.engine.positions(v.labels)
        return v.results.where

    def _columns(self, v: "Voxels", wanted: Plan) -> Tensor:
        """One result, (R, columns); with the first, all that the loss is going to ask for is computed."""
        if wanted - v.results.plan:
            self._compute(v, (wanted | _safe(v.plan or wanted, v.logits)) - v.results.plan)
        return v.results.of(wanted)

    def _compute(self, v: "Voxels", missing: Plan) -> None:
        if self._walks(v, missing):
            results, v.results.lesions = _Walk.apply(v.logits, Job(v.labels, v.valid, missing, self.engine))  # type: ignore[no-untyped-call]
        else:
            where = self._where(v)
            results = _Sums.apply(v.logits, where, Job(v.labels, v.valid, missing, self.engine))  # type: ignore[no-untyped-call]
        sizes = [4 * v.classes] * len(missing.sharpens) + [2] * len(missing.pairs)
        v.results.add(missing, torch.split(results, sizes, dim=1))


def _safe(plan: Plan, like: Tensor) -> Plan:
    return Plan(
        tuple(sharpen for sharpen in plan.sharpens if sharpen >= 1),
        tuple(pair for pair in plan.pairs if _vanishes(pair[1], like)),
    )


FUSED = Fused("fused", TORCH)
COMPILED = Fused(
    "compiled",
    Engine(
        compiled.compiled_positions,
        compiled.compiled_single_sums,
        compiled.compiled_single_gradient,
        compiled.compiled_sums,
        compiled.compiled_gradient,
        walk=Walk("cpu", compiled.ready, compiled.walk_found, compiled.walk_pull),
    ),
)
CUDA = Fused("triton", replace(TORCH, walk=Walk("cuda", on_cuda.ready, on_cuda.walk_found, on_cuda.walk_pull)))
