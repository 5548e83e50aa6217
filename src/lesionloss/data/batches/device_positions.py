"""Where the voxels of the patches of a batch are read, for all patches at once, on a device."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.core.devices import to_device
from lesionloss.data.batches.augmentation import DrawnPatch
from lesionloss.data.batches.motions import Displacement, Linear, Motion
from lesionloss.data.batches.patches import Size


def upload(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy a small array to a device without a wait."""
    return to_device(torch.from_numpy(np.ascontiguousarray(array)), device)


def positions_of(drawn: Sequence[DrawnPatch], size: Size, device: torch.device) -> Tensor:
    """Compute where each voxel of each patch is read.

    Turns of whole voxels come first: they only say which voxel of the unturned patch a voxel is. What is not moved
    stays exactly on the voxels.

    Args:
        drawn: What was drawn for each of B patches.
        size: Voxels along each axis.
        device: Where it is computed.

    Returns:
        Positions float64 (B, axes, voxels), in voxels from the first one of a patch's window.
    """
    identity = np.stack([np.eye(len(size))] * len(drawn))
    matrices = np.stack([_turning(patch, len(size)) for patch in drawn])
    points = _centred(size, device)
    for motions in zip(*(patch.motions for patch in drawn), strict=True):
        if any(isinstance(motion, Displacement) for motion in motions):
            points = upload(matrices, device) @ points + _displacements(drawn, motions, size, device)
            matrices = identity
        else:
            maps = [motion.matrix if isinstance(motion, Linear) else identity[0] for motion in motions]
            matrices = np.stack(maps) @ matrices
    middle = upload((np.array(size)[:, None] - 1) / 2, device)
    return torch.baddbmm(middle, upload(matrices, device), points.expand(len(drawn), *points.shape[-2:]))


def _turning(patch: DrawnPatch, axes: int) -> npt.NDArray[np.float64]:
    """The matrix of all turns of a patch."""
    matrix: npt.NDArray[np.float64] = np.eye(axes)
    for turn in patch.turns:
        matrix = matrix @ turn.matrix(axes)
    return matrix


def _centred(size: Size, device: torch.device) -> Tensor:
    """Voxels of a patch from its centre: float64 (axes, voxels)."""
    along = [torch.arange(length, dtype=torch.float64, device=device) - (length - 1) / 2 for length in size]
    return torch.stack(torch.meshgrid(*along, indexing="ij")).flatten(1)


def _displacements(
    drawn: Sequence[DrawnPatch], motions: Sequence[Motion | None], size: Size, device: torch.device
) -> Tensor:
    """Displacements float32 (B, axes, voxels), 0 where none was drawn; the lattices are turned as their patches."""
    lattice = next(motion.field.values.shape for motion in motions if isinstance(motion, Displacement))
    values = np.zeros((len(drawn), *lattice), dtype=np.float32)
    for patch, motion, own in zip(drawn, motions, values, strict=True):
        if isinstance(motion, Displacement):
            field: npt.NDArray[np.float32] = motion.field.values * np.float32(
                motion.deviation / math.sqrt(motion.field.variance)
            )
            for turn in patch.turns:
                field = turn.apply(field, len(size))
            own[list(motion.axes)] = field[list(motion.axes)]
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    fields = torch.nn.functional.interpolate(upload(values, device), size=size, mode=mode, align_corners=True)
    return fields.flatten(2)
