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
    from monai.transforms.utils import create_grid

    points = torch.as_tensor(create_grid(size, dtype=np.float32))
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
    from monai.transforms.spatial.array import AffineGrid

    whole = np.eye(len(points))
    whole[:-1, :-1] = matrix
    moved, _ = AffineGrid(affine=torch.from_numpy(whole), dtype=np.float32)(grid=points)
    return torch.as_tensor(moved)


def _read(case: PreparedCase, start: Size, size: Size, points: "Tensor", padding_counts: bool) -> Patch:
    """Read the patch at `points` (axes, *size), in voxels from the centre of the window at `start`."""
    import torch
    from monai.transforms.spatial.array import Resample

    centre = np.array(start) + (np.array(size) - 1) / 2
    flat = points.reshape(len(size), -1)
    first = np.floor(centre + flat.min(dim=1).values.numpy()).astype(int)
    last = np.ceil(centre + flat.max(dim=1).values.numpy()).astype(int)
    source = cut(case, tuple(first.tolist()), tuple((last - first + 1).tolist()), padding_counts=padding_counts)
    shift = torch.from_numpy(centre - (first + last) / 2).to(points.dtype)
    around = points + shift.reshape(-1, *[1] * len(size))
    resample = Resample(padding_mode="border", dtype=np.float32)
    image = resample(torch.from_numpy(source.image), around, mode="bilinear")
    marks = np.stack([source.reference, source.valid]).astype(np.float32)
    reference, valid = resample(torch.from_numpy(marks), around, mode="nearest").numpy()
    return Patch(np.asarray(image), np.asarray(reference, dtype=np.uint8), np.asarray(valid) > 0)
