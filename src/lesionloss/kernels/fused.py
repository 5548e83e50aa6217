"""All sums of a loss in one pass over the voxels, known to autograd as one operation with one gradient.

Kept for the backward pass are the logits, the labels and the mask; in plain torch one number a logit besides.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lesionloss.kernels import compiled, on_cuda
from lesionloss.kernels.job import TORCH, Engine, Job
from lesionloss.kernels.plan import Plan
from lesionloss.kernels.readable import READABLE
from lesionloss.kernels.terms import CrossEntropy, Focal, Tail, Term
from lesionloss.kernels.walked import Walk, walk_gradient, walk_sums

if TYPE_CHECKING:
    from lesionloss.voxels import Voxels


FEW = 0.05  # positions of lesion voxels are kept for the backward pass if they take no more than that of the logits


class _Sums(torch.autograd.Function):
    """(logits, positions of lesion voxels, job) -> the parts of the results."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, where: Tensor, job: Job) -> tuple[Tensor, ...]:
        results, kept = job.sums(logits.contiguous(), where)
        few = where.nbytes <= FEW * logits.nbytes
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, job.labels, job.valid, where if few else None, kept)
        ctx.job = job
        return _parts(results, job.plan, logits)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, labels, _, where, kept = ctx.saved_tensors
        job: Job = ctx.job
        weights = _joined(grads, job.plan, logits)
        if weights is None:
            return None, None, None
        if torch.is_grad_enabled():
            return _gradient_again(job, logits, weights), None, None
        where = job.engine.positions(labels) if where is None else where
        return job.gradient(logits.contiguous(), weights, where, kept, last=not _kept_graph()), None, None


def _kept_graph() -> bool:
    """Whether the backward pass that is under way may be followed by another through the same graph."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if asked is None else bool(asked())


class _Walk(torch.autograd.Function):
    """(logits (R, 1, V), job, walk) -> number of lesion voxels (R,) and the parts of the results; keeps nothing."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, job: Job, walk: Walk) -> tuple[Tensor, ...]:
        results, lesions = walk_sums(walk, logits[:, 0], job.labels, job.valid, job.plan)
        ctx.mark_non_differentiable(lesions)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits, job.labels, job.valid)
        ctx.job, ctx.walk = job, walk
        return lesions, *_parts(results, job.plan, logits)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, labels, valid = ctx.saved_tensors
        job: Job = ctx.job
        weights = _joined(grads[1:], job.plan, logits)
        if weights is None:
            return None, None, None
        if torch.is_grad_enabled():
            return _gradient_again(job, logits, weights), None, None
        return walk_gradient(ctx.walk, logits[:, 0], labels, valid, job.plan, weights)[:, None], None, None


def _parts(results: Tensor, plan: Plan, logits: Tensor) -> tuple[Tensor, ...]:
    """The columns of the results (R, columns), apart: autograd then needs no operation to tell them from each other."""
    parts = torch.split(results, plan.sizes(max(2, logits.shape[1])), dim=1)
    counts = 8 * len(plan.sharpens)
    return *parts[:counts], *(part[:, 0] for part in parts[counts:])


def _joined(grads: tuple[Tensor | None, ...], plan: Plan, logits: Tensor) -> Tensor | None:
    """The weights of the results, (R, columns), from those of the parts; None if none has one."""
    if all(grad is None for grad in grads):
        return None
    sizes = plan.sizes(max(2, logits.shape[1]))
    nothing = logits.new_zeros((len(logits), max(sizes)))
    parts = [
        nothing[:, :size] if grad is None else grad.view(-1, size) for grad, size in zip(grads, sizes, strict=True)
    ]
    return torch.cat(parts, dim=1)


def _gradient_again(job: Job, logits: Tensor, weights: Tensor) -> Tensor:
    """A gradient that is to be differentiated again, made of operations that autograd knows."""
    from lesionloss.voxels import Voxels

    with torch.enable_grad():
        v = Voxels(logits, job.labels, job.valid, READABLE)
        parts = [part for sharpen in job.plan.sharpens for part in READABLE.counts(v, sharpen, True)]
        for pair in job.plan.pairs:
            parts += [part[:, None] for part in READABLE.term_sums(v, *pair)]
        (gradient,) = torch.autograd.grad(torch.cat(parts, dim=1), logits, weights, create_graph=True)
    return gradient


def _vanishes(term: Term, like: Tensor) -> bool:
    """Whether a voxel without any error costs and pulls nothing, as voxels that are left out must."""
    if type(term) in (CrossEntropy, Focal, Tail):
        return True
    zero = like.new_zeros(1)
    return bool(term.value(zero, zero) == 0) and bool(torch.isfinite(term.slope(zero, zero)))


@dataclass(frozen=True)
class Fused:
    """The sums of `READABLE`, for class numbers on the CPU; whatever else comes goes the readable way."""

    name: str
    engine: Engine

    def looks(self, v: "Voxels") -> bool:
        if v.logits.device.type != "cpu" or not v.plan:
            return False
        if self._walk(v, v.plan) is not None:
            return True
        if v.logits.shape[1] > 1 or not self._takes(v) or not _safe(v.plan, v.logits):
            return False
        numbers = v.labels.reshape(-1).index_select(0, self._where(v)).numpy()
        # The logits are looked at with the sums.
        return not numbers.size or (int(numbers.min()) == 1 and int(numbers.max()) == 1)

    def class_voxels(self, v: "Voxels") -> Tensor:
        if v.plan and self._walk(v, v.plan) is not None:
            return v.pool(self._walked_class_voxels(v, v.plan))
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
        parts = [v.pool(part) for part in self._columns(v, Plan(sharpens=(sharpen,)))]
        if not background:
            return parts[1], parts[3], parts[5], parts[7]
        tp, fp, fn, tn = (torch.cat(parts[i : i + 2], dim=1) for i in range(0, 8, 2))
        return tp, fp, fn, tn

    def term_sums(self, v: "Voxels", lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        if not self._takes(v) or not _vanishes(background, v.logits):
            return READABLE.term_sums(v, lesion, background)
        of_lesion, of_background = (v.pool(part) for part in self._columns(v, Plan(pairs=((lesion, background),))))
        return of_lesion, of_background

    def _walk(self, v: "Voxels", plan: Plan) -> Walk | None:
        """The engine's, where it can do what is planned."""
        walk = self.engine.walk
        if walk is None or v.soft or v.classes > 2 or not plan.is_plain or not walk.ready():
            return None
        small = v.labels.dtype in (torch.uint8, torch.bool)
        return walk if small and v.logits.dtype == torch.float32 and v.logits.device.type == walk.device else None

    def _walked_class_voxels(self, v: "Voxels", plan: Plan) -> Tensor:
        if v.results.lesions is None:
            self._compute(v, plan)
        lesions = v.logits.new_zeros(()) if v.results.lesions is None else v.results.lesions
        background = (v.labels.shape[1] if v.valid is None else v.valid.sum(1)) - lesions
        return torch.stack([background, lesions], dim=1).to(v.logits.dtype)

    def _takes(self, v: "Voxels") -> bool:
        if v.soft:
            return False
        if v.logits.device.type == "cpu":
            return v.logits.dtype in (torch.float32, torch.float64)
        return v.plan is not None and bool(v.plan) and self._walk(v, v.plan) is not None

    def _where(self, v: "Voxels") -> Tensor:
        if v.results.where is None:
            v.results.where = self.engine.positions(v.labels)
        return v.results.where

    def _columns(self, v: "Voxels", wanted: Plan) -> tuple[Tensor, ...]:
        """The parts of one result; with the first, all that the loss is going to ask for is computed."""
        if wanted - v.results.plan:
            self._compute(v, (wanted | _safe(v.plan or wanted, v.logits)) - v.results.plan)
        return v.results.of(wanted)

    def _compute(self, v: "Voxels", missing: Plan) -> None:
        job = Job(v.labels, v.valid, missing, self.engine)
        walk = self._walk(v, missing)
        if walk is not None:
            v.results.lesions, *parts = _Walk.apply(v.logits, job, walk)  # type: ignore[no-untyped-call]
        else:
            parts = _Sums.apply(v.logits, self._where(v), job)  # type: ignore[no-untyped-call]
        v.results.add(missing, tuple(parts))


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
