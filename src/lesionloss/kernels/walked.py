"""Losses of counts and cross-entropies on one logit, by two compiled passes that keep nothing between them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.sharing import Piece, in_parts
from lesionloss.values import refuse_logits, refuse_numbers

Floats = npt.NDArray[np.float64]


def other_class(columns: Tensor) -> Tensor:
    """Results come in pairs: background and lesion of a count, lesion and background of a term."""
    return torch.arange(len(columns)) ^ 1


def walk_sums(logits: Tensor, labels: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """Results (R, columns) of logits (R, V), labels (R, V) and valid (R, V), and the number of lesion voxels (R,).

    Raises DataError for logits that are not finite and for labels above 1.
    """
    from lesionloss.kernels import walk

    z, y, inside = _arrays(logits, labels, valid)

    def add(pieces: list[Piece]) -> Floats:
        found = np.zeros((len(z), walk.COLUMNS))
        for at in pieces:
            part = slice(at.start, at.stop)
            row_inside = inside[at.image, part] if len(inside) else np.empty(0, np.bool_)
            walk.walk_sums(z[at.image, part], y[at.image, part], row_inside, bool(plan.pairs), found[at.image])
        return found

    parts = in_parts([logits.shape[1]] * len(z), 1, add)
    found = np.sum(parts, axis=0)
    refuse_logits(logits, float(found[:, walk.TOTAL].sum()))
    refuse_numbers(0, max(float(part[:, walk.LARGEST].max()) for part in parts), 1)
    lesions = torch.from_numpy(found[:, walk.LESIONS])
    voxels = (logits.shape[1] if valid is None else valid.sum(1)) - lesions
    raw = raw_of(plan, 2)
    background = torch.from_numpy(found[:, _columns(plan, walk.ALARMS)]) @ raw.matrix + voxels[:, None] * raw.per_voxel
    lesion = torch.from_numpy(found[:, _columns(plan, walk.MISSES)]) @ raw.matrix + lesions[:, None] * raw.per_voxel
    return (background + lesion[:, other_class(raw.per_voxel)]).to(logits.dtype), lesions


def walk_gradient(logits: Tensor, labels: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor) -> Tensor:
    """d(weights · results) / d logits, (R, V)."""
    from lesionloss.kernels import walk

    z, y, inside = _arrays(logits, labels, valid)
    raw, out = raw_of(plan, 2), np.empty_like(z)
    of_found = np.zeros((len(z), walk.COLUMNS))
    for first, of_class in ((walk.ALARMS, weights), (walk.MISSES, weights[:, other_class(raw.per_voxel)])):
        of_raw = (of_class.double() @ raw.matrix.T).numpy()
        for number, column in enumerate(_columns(plan, first)):
            of_found[:, column] += of_raw[:, number]

    def write(pieces: list[Piece]) -> None:
        for at in pieces:
            part = slice(at.start, at.stop)
            row_inside = inside[at.image, part] if len(inside) else np.empty(0, np.bool_)
            walk.walk_gradient(
                z[at.image, part], y[at.image, part], row_inside, of_found[at.image], out[at.image, part]
            )

    in_parts([logits.shape[1]] * len(z), 1, write)
    return torch.from_numpy(out)


def _columns(plan: Plan, first: int) -> list[int]:
    """Where the raw sums of a plan are among those of a class, which begin at `first`: Σ q, Σ q², Σ ce."""
    linear = [first] if plan.sharpens else []
    return linear + [first + 1] * (2 * len(plan.powers)) + [first + 2] * len(plan.pairs)


def _arrays(logits: Tensor, labels: Tensor, valid: Tensor | None) -> tuple[Any, Any, Any]:
    inside = np.empty((0, 0), np.bool_) if valid is None else valid.contiguous().numpy()
    return logits.detach().contiguous().numpy(), labels.contiguous().view(torch.uint8).numpy(), inside
