"""Voxel grids: shape and place in millimetres, and the grids made from them."""

from dataclasses import dataclass

import numpy as np

from lesionloss.data.volume import Affine

# Spacings that differ by less are one spacing: resampling would only blur.
SAME_SPACING = 1e-4


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Shape and affine (4, 4) of an image; a two-dimensional one has two lengths."""

    shape: tuple[int, ...]
    affine: Affine

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Edge lengths of a voxel, one per axis."""
        return tuple(float(edge) for edge in np.linalg.norm(self.affine[:3, : len(self.shape)], axis=0))


def grid_with_spacing(grid: VoxelGrid, spacing_mm: tuple[float, ...]) -> VoxelGrid:
    """Make the grid of another spacing over the same field of view; both fields of view share their centre.

    Outer borders coincide to within half a voxel. Axes whose spacing is kept keep their voxels exactly.
    """
    shape, affine = list(grid.shape), grid.affine.copy()
    for axis, (old, new) in enumerate(zip(grid.spacing_mm, spacing_mm, strict=True)):
        if abs(new / old - 1) < SAME_SPACING:
            continue
        shape[axis] = max(1, round(grid.shape[axis] * old / new))
        step = grid.affine[:3, axis] * (new / old)
        # Both fields of view share their centre.
        affine[:3, 3] += grid.affine[:3, axis] * (grid.shape[axis] - 1) / 2 - step * (shape[axis] - 1) / 2
        affine[:3, axis] = step
    return VoxelGrid(tuple(shape), affine)


def crop_grid(grid: VoxelGrid, box: tuple[slice, ...]) -> VoxelGrid:
    """Make the grid of a box of a grid's voxels."""
    affine = grid.affine.copy()
    start = np.array([side.start for side in box], dtype=np.float64)
    affine[:3, 3] = grid.affine[:3, : len(box)] @ start + grid.affine[:3, 3]
    return VoxelGrid(tuple(int(side.stop - side.start) for side in box), affine)
