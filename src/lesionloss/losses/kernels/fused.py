"""The kernels that compute all sums of a loss together, by an engine or a walk that fits the batch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lesionloss.losses.kernels import compiled, on_cuda
from lesionloss.losses.kernels.job import TORCH, Engine, Job
from lesionloss.losses.kernels.lesions import Found
from lesionloss.losses.kernels.passes import summed, walked
from lesionloss.losses.kernels.plan import Pair, Plan
from lesionloss.losses.kernels.readable import READABLE
from lesionloss.losses.kernels.terms import CrossEntropy, Focal, Tail, Term
from lesionloss.losses.kernels.walked import Walk

if TYPE_CHECKING:
    from lesionloss.losses.voxels import Voxels


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
        planned = _safe(v.plan, v.logits)
        if not self._takes(v) or not (planned.sharpens or planned.pairs):
            return False
        found = self._found(v)
        return found.low >= 0 and found.high < v.classes  # the logits are looked at with the sums

    def class_voxels(self, v: "Voxels") -> Tensor:
        if v.plan and self._walk(v, v.plan) is not None:
            return v.pool(self._walked_class_voxels(v, v.plan))
        if v.soft or v.logits.device.type != "cpu":
            return READABLE.class_voxels(v)
        where = self._found(v).where
        rows = torch.div(where, v.labels.shape[1], rounding_mode="floor")
        cells = rows * v.classes + v.labels.reshape(-1)[where]
        counted = torch.bincount(cells, minlength=len(v.labels) * v.classes).view(-1, v.classes)
        valid = v.labels.shape[1] if v.valid is None else v.valid.sum(1)
        counted[:, 0] = valid - counted.sum(1)
        return v.pool(counted.to(v.logits.dtype))

    def counts(self, v: "Voxels", sharpen: float, background: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if sharpen < 1 or not self._takes(v):
            return READABLE.counts(v, sharpen, background)
        parts = [v.pool(part) for part in self._columns(v, sharpen)]
        if not background:
            return parts[1], parts[3], parts[5], parts[7]
        tp, fp, fn, tn = (torch.cat(parts[i : i + 2], dim=1) for i in range(0, 8, 2))
        return tp, fp, fn, tn

    def term_sums(self, v: "Voxels", lesion: Term, background: Term) -> tuple[Tensor, Tensor]:
        if not self._takes(v) or not _vanishes(background, v.logits):
            return READABLE.term_sums(v, lesion, background)
        of_lesion, of_background = (v.pool(part) for part in self._columns(v, (lesion, background)))
        return of_lesion, of_background

    def lesions(self, v: "Voxels") -> tuple[Tensor, Tensor]:
        if v.logits.device.type != "cpu" or not self._takes(v):
            return READABLE.lesions(v)
        if v.results.listed is None:
            self._compute_with(v, Plan(listed=True))
        assert v.results.listed is not None
        return self._found(v).where, v.results.listed

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

    def _found(self, v: "Voxels") -> Found:
        if v.results.found is None:
            v.results.found = self.engine.find(v.labels)
        return v.results.found

    def _columns(self, v: "Voxels", key: float | Pair) -> tuple[Tensor, ...]:
        """The parts of one result."""
        if key not in v.results.parts:
            self._compute_with(v, Plan(pairs=(key,)) if isinstance(key, tuple) else Plan(sharpens=(key,)))
        return v.results.parts[key]

    def _compute_with(self, v: "Voxels", wanted: Plan) -> None:
        """With the first result all that the loss is going to ask for is computed."""
        self._compute(v, (wanted | _safe(v.plan or wanted, v.logits)) - v.results.plan)

    def _compute(self, v: "Voxels", missing: Plan) -> None:
        job = Job(v.labels, v.valid, missing, self.engine)
        walk = self._walk(v, missing)
        if walk is not None:
            where = self._found(v).where if missing.listed else None
            v.results.lesions, *parts = walked(v.logits, where, job, walk)
        else:
            parts = [*summed(v.logits, self._found(v).where, job)]
        v.results.add(missing, tuple(parts))


def _safe(plan: Plan, like: Tensor) -> Plan:
    return Plan(
        tuple(sharpen for sharpen in plan.sharpens if sharpen >= 1),
        tuple(pair for pair in plan.pairs if _vanishes(pair[1], like)),
        plan.listed and like.device.type == "cpu",
    )


FUSED = Fused("fused", TORCH)
COMPILED = Fused(
    "compiled",
    Engine(
        compiled.compiled_find,
        compiled.compiled_single_sums,
        compiled.compiled_single_gradient,
        compiled.compiled_sums,
        compiled.compiled_gradient,
        walk=Walk("cpu", compiled.ready, compiled.walk_found, compiled.walk_pull),
    ),
)
CUDA = Fused("triton", replace(TORCH, walk=Walk("cuda", on_cuda.ready, on_cuda.walk_found, on_cuda.walk_pull)))
