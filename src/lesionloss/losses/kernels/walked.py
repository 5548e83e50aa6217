"""Losses of counts and cross-entropies on one logit, by two passes that keep nothing between them.

Both passes read logits and labels once; the second writes the gradient. Who makes them is a `Walk`: machine code of
numba on the CPU, a Triton kernel on CUDA.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lesionloss.losses.input_checks import refuse_logits, refuse_numbers
from lesionloss.losses.kernels.columns import ALARMS, COLUMNS, LARGEST, LESIONS, MISSES, TOTAL
from lesionloss.losses.kernels.plan import Plan, raw_of


@dataclass(frozen=True)
class Walk:
    """`found(logits, labels, valid, with_logs)` gives (R, COLUMNS) float64; `pull(logits, labels, valid, weights)` the
    gradient of Σ weights · found, (R, V). Logits (R, V) float32, labels (R, V) uint8, valid (R, V) bool or None.
    """

    device: str
    ready: Callable[[], bool]
    found: Callable[[Tensor, Tensor, Tensor | None, bool], Tensor]
    pull: Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]


@lru_cache(maxsize=64)
def other_class(columns: int) -> Tensor:
    """Results come in pairs: background and lesion of a count, lesion and background of a term."""
    return torch.arange(columns) ^ 1


@lru_cache(maxsize=64)
def _results_of(plan: Plan, device: torch.device) -> tuple[Tensor, Tensor]:
    """How the results follow from what is found, (COLUMNS, columns), and what each voxel adds, (columns,)."""
    raw = raw_of(plan, 2)
    other = other_class(len(raw.per_voxel))
    matrix = torch.zeros((COLUMNS, len(raw.per_voxel)), dtype=torch.float64)
    for first, of_raw in ((ALARMS, raw.matrix), (MISSES, raw.matrix[:, other])):
        for number, column in enumerate(_columns(plan, first)):
            matrix[column] += of_raw[number]
    matrix[LESIONS] = raw.per_voxel[other] - raw.per_voxel
    return matrix.to(device), raw.per_voxel.to(device)


def walk_sums(walk: Walk, logits: Tensor, labels: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """Results (R, columns) of logits (R, V), labels (R, V) and valid (R, V), and the number of lesion voxels (R,).

    On the CPU, raises DataError for logits that are not finite and for labels above 1.
    """
    found = walk.found(logits.detach().contiguous(), _bytes(labels), _contiguous(valid), bool(plan.pairs))
    if logits.device.type == "cpu":
        checks = found.numpy()
        if not np.isfinite(checks[:, TOTAL]).all():
            refuse_logits(logits)
            checks[:, TOTAL] = 0.0  # large numbers, but no error; times 0 they would be NaN
        refuse_numbers(0, float(checks[:, LARGEST].max()), 1)
    matrix, per_voxel = _results_of(plan, found.device)
    voxels = logits.shape[1] if valid is None else valid.sum(1, keepdim=True)
    if valid is None and logits.device.type == "cpu":  # tiny: NumPy is quicker
        results = found.numpy() @ matrix.numpy() + voxels * per_voxel.numpy()
        return torch.from_numpy(results.astype(np.float32)), found[:, LESIONS]
    return (found @ matrix + voxels * per_voxel).to(logits.dtype), found[:, LESIONS]


def walk_gradient(
    walk: Walk, logits: Tensor, labels: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor
) -> Tensor:
    """d(weights · results) / d logits, (R, V)."""
    matrix, _ = _results_of(plan, weights.device)
    of_found = weights.double() @ matrix.T
    return walk.pull(logits.detach().contiguous(), _bytes(labels), _contiguous(valid), of_found)


def _columns(plan: Plan, first: int) -> list[int]:
    """Where the raw sums of a plan are among those of a class, which begin at `first`: Σ q, Σ q², Σ ce."""
    linear = [first] if plan.sharpens else []
    return linear + [first + 1] * (2 * len(plan.powers)) + [first + 2] * len(plan.pairs)


def _bytes(labels: Tensor) -> Tensor:
    return labels.contiguous().view(torch.uint8)


def _contiguous(valid: Tensor | None) -> Tensor | None:
    return None if valid is None else valid.contiguous()
