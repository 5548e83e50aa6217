"""A patch read at points that motions have moved, in main memory; `device_cohort` reads those of a batch at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lesionloss.data.batches.motions import Displacement, Motion
from lesionloss.data.batches.patches import Patch, Size, cut
from lesionloss.data.prepared import PreparedCase

if TYPE_CHECKING:
    from torch import Tensor


def cut_moved(
    case: PreparedCase, start: Size, size: Size, motions: Sequence[Motion], *, padding_counts: bool = True
) -> Patch:
    """Cut a patch like `cut`, read at points that the motions move, one after the other.

    Args:
        case: The case.
        start: First voxel of the window.
        size: Voxels along each axis.
        motions: How points move.
        padding_counts: Whether voxels outside the image are valid background.

    Returns:
        The patch.
    """
    if not motions:
        return cut(case, start, size, padding_counts=padding_counts)
    import torch

    along = [np.linspace(-(length - 1.0) / 2.0, (length - 1.0) / 2.0, length) for length in size]
    grid = np.asarray(np.meshgrid(*along, indexing="ij"), dtype=np.float32)
    points = torch.from_numpy(np.concatenate([grid, np.ones_like(grid[:1])]))
    for motion in motions:
        points = _displaced(points, motion) if isinstance(motion, Displacement) else _mapped(points, motion.matrix)
    return _read(case, start, size, points[:-1], padding_counts)


def _displaced(points: "Tensor", motion: Displacement) -> "Tensor":
    import torch

    moved, axes = points.clone(), list(motion.axes)
    moved[axes] += motion.deviation * torch.from_numpy(motion.field.over(tuple(points.shape[1:])))[axes]
    return moved


def _mapped(points: "Tensor", matrix: npt.NDArray[np.float64]) -> "Tensor":
    """Map homogeneous points (axes + 1, *size) by a matrix (axes, axes)."""
    import torch

    whole = np.eye(len(points), dtype=np.float32)
    whole[:-1, :-1] = matrix
    return (torch.from_numpy(whole) @ points.reshape(len(points), -1)).reshape(points.shape)


def _read(case: PreparedCase, start: Size, size: Size, points: "Tensor", padding_counts: bool) -> Patch:
    """Read the patch at `points` (axes, *size), in voxels from the centre of the window at `start`."""
    import torch
    from torch.nn.functional import grid_sample

    centre = np.array(start) + (np.array(size) - 1) / 2
    flat = points.reshape(len(size), -1)
    first = np.floor(centre + flat.min(dim=1).values.numpy()).astype(int)
    last = np.ceil(centre + flat.max(dim=1).values.numpy()).astype(int)
    sides = (last - first + 1).tolist()
    source = cut(case, tuple(first.tolist()), tuple(sides), padding_counts=padding_counts)
    shift = torch.from_numpy(centre - (first + last) / 2).to(points.dtype)
    around = points + shift.reshape(-1, *[1] * len(size))
    shares = torch.tensor([2.0 / max(2, side) for side in sides]).reshape(shift.shape[0], *[1] * len(size))
    grid = (around * shares).flip(0).movedim(0, -1)[None]  # the last axis first
    marks = torch.from_numpy(np.stack([source.reference, source.valid]).astype(np.float32))
    image = grid_sample(torch.from_numpy(source.image)[None], grid, "bilinear", "border", align_corners=False)[0]
    reference, valid = grid_sample(marks[None], grid, "nearest", "border", align_corners=False)[0].numpy()
    return Patch(np.asarray(image.numpy()), np.asarray(reference, dtype=np.uint8), np.asarray(valid) > 0)
