"""Where a mask ends: bounding box, border voxels, and the distances between two borders in mm.

A border voxel is a foreground voxel with a background neighbour across a face; beyond the image is background.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lesionloss.metrics.array_checks import Floats, Mask

Box = tuple[slice, ...]

# A distance that equals a limit on paper may exceed it by the rounding of its square root.
ROUNDING = 1 + 1e-9

# Slicing costs about one pass over the box for each face, looking up neighbours one gather for each voxel and face.
BOX_VOXELS_PER_GATHER = 16


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm from each border voxel of one mask to the nearest border voxel of the other; both non-empty."""

    pred_to_ref: Floats
    ref_to_pred: Floats


def bounding_box(mask: Mask) -> Box | None:
    """The smallest box that holds the foreground of a mask (*space); None if there is none."""
    extents: list[slice] = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hits = np.flatnonzero(mask[tuple(extents)].any(axis=others))
        if hits.size == 0:
            return None
        extents.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(extents)


def union(first: Box | None, second: Box | None) -> Box | None:
    """The smallest box that holds both."""
    if first is None or second is None:
        return first or second
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


def _border_by_slices(mask: Mask) -> NDArray[np.int64]:
    """For compact masks: a voxel is inside if the six shifted copies of the mask agree."""
    inside = np.zeros_like(mask)
    core = tuple(slice(1, -1) for _ in mask.shape)
    kept = mask[core].copy()
    for axis in range(mask.ndim):
        for shifted in (slice(0, -2), slice(2, None)):
            kept &= mask[(*core[:axis], shifted, *core[axis + 1 :])]
    inside[core] = kept
    np.logical_xor(mask, inside, out=inside)
    return np.argwhere(inside)


def _border_by_gathers(mask: Mask) -> NDArray[np.int64]:
    """For scattered masks: looks up the neighbours of each foreground voxel in the flat array."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    voxels = np.flatnonzero(flat)
    places = np.unravel_index(voxels, mask.shape)
    border = np.zeros(voxels.shape, dtype=np.bool_)
    stride = 1
    for axis in reversed(range(mask.ndim)):
        border |= (places[axis] == 0) | (places[axis] == mask.shape[axis] - 1)
        for step in (-stride, stride):
            border |= ~flat.take(voxels + step, mode="clip")
        stride *= mask.shape[axis]
    return np.stack([place[border] for place in places], axis=1)


def border_voxels(mask: Mask, box: Box) -> NDArray[np.int64]:
    """Indices of the border voxels, shape (n, dimensions); `box` must hold the whole foreground."""
    crop = mask[box]
    if np.count_nonzero(crop) * BOX_VOXELS_PER_GATHER < crop.size:
        if mask.flags.c_contiguous:  # the flat array is there already; a crop would be a copy
            return _border_by_gathers(mask)
        found = _border_by_gathers(crop)
    else:
        found = _border_by_slices(crop)
    found += np.array([extent.start for extent in box])
    return found


def nearest(points_mm: Floats, others_mm: Floats) -> Floats:
    """Distance from each point to the nearest of the others, exact; shapes (n, d), (m, d) -> (n,)."""
    tree = cKDTree(others_mm, balanced_tree=False, compact_nodes=True, leafsize=32)
    distance, _ = tree.query(points_mm)
    return np.asarray(distance, dtype=np.float64)


def surface_distances(
    pred: Mask, ref: Mask, spacing_mm: tuple[float, ...], pred_box: Box, ref_box: Box
) -> SurfaceDistances:
    """All border distances of two non-empty masks, once, for every boundary metric."""
    pred_mm = border_voxels(pred, pred_box) * np.asarray(spacing_mm)
    ref_mm = border_voxels(ref, ref_box) * np.asarray(spacing_mm)
    return SurfaceDistances(nearest(pred_mm, ref_mm), nearest(ref_mm, pred_mm))
