"""Losses of counts and cross-entropies on one logit, by two passes that keep nothing between them.

Both passes read logits and labels once; the second writes the gradient. Who makes them is a `Walk`: machine code of
numba on the CPU, a Triton kernel on CUDA.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lesionloss.kernels.columns import ALARMS, COLUMNS, LARGEST, LESIONS, MISSES, TOTAL
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.values import refuse_logits, refuse_numbers


@dataclass(frozen=True)
class Walk:
    """`found(logits, labels, valid, with_logs)` gives (R, COLUMNS) float64; `pull(logits, labels, valid, weights)` the
    gradient of Σ weights · found, (R, V). Logits (R, V) float32, labels (R, V) uint8, valid (R, V) bool or None.
    """

    device: str
    ready: Callable[[], bool]
    found: Callable[[Tensor, Tensor, Tensor | None, bool], Tensor]
    pull: Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]


def other_class(columns: Tensor) -> Tensor:
    """Results come in pairs: background and lesion of a count, lesion and background of a term."""
    return torch.arange(len(columns)) ^ 1


def walk_sums(walk: Walk, logits: Tensor, labels: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """Results (R, columns) of logits (R, V), labels (R, V) and valid (R, V), and the number of lesion voxels (R,).

    On the CPU, raises DataError for logits that are not finite and for labels above 1.
    """
    found = walk.found(logits.detach().contiguous(), _bytes(labels), _contiguous(valid), bool(plan.pairs))
    if logits.device.type == "cpu":
        refuse_logits(logits, float(found[:, TOTAL].sum()))
        refuse_numbers(0, float(found[:, LARGEST].max()), 1)
    lesions = found[:, LESIONS]
    voxels = (logits.shape[1] if valid is None else valid.sum(1)) - lesions
    raw = raw_of(plan, 2)
    matrix, per_voxel = raw.matrix.to(found.device), raw.per_voxel.to(found.device)
    background = found[:, _columns(plan, ALARMS)] @ matrix + voxels[:, None] * per_voxel
    lesion = found[:, _columns(plan, MISSES)] @ matrix + lesions[:, None] * per_voxel
    return (background + lesion[:, other_class(per_voxel)]).to(logits.dtype), lesions


def walk_gradient(
    walk: Walk, logits: Tensor, labels: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor
) -> Tensor:
    """d(weights · results) / d logits, (R, V)."""
    raw = raw_of(plan, 2)
    matrix = raw.matrix.to(weights.device)
    of_found = torch.zeros((len(weights), COLUMNS), dtype=torch.float64, device=weights.device)
    for first, of_class in ((ALARMS, weights), (MISSES, weights[:, other_class(raw.per_voxel)])):
        of_raw = of_class.double() @ matrix.T
        for number, column in enumerate(_columns(plan, first)):
            of_found[:, column] += of_raw[:, number]
    return walk.pull(logits.detach().contiguous(), _bytes(labels), _contiguous(valid), of_found)


def _columns(plan: Plan, first: int) -> list[int]:
    """Where the raw sums of a plan are among those of a class, which begin at `first`: Σ q, Σ q², Σ ce."""
    linear = [first] if plan.sharpens else []
    return linear + [first + 1] * (2 * len(plan.powers)) + [first + 2] * len(plan.pairs)


def _bytes(labels: Tensor) -> Tensor:
    return labels.contiguous().view(torch.uint8)


def _contiguous(valid: Tensor | None) -> Tensor | None:
    return None if valid is None else valid.contiguous()
