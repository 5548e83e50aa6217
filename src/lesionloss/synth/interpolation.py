"""Volumes read between their voxels, a block of points at a time, so that the data stay in the cache."""

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.fields import Float, Mask

_BLOCK = 1 << 15  # points


def rows_at(table: Float, shape: tuple[int, int, int], voxels: Float) -> Float:
    """Interpolate several maps at once, trilinearly; beyond the edge, the edge's value continues.

    Args:
        table: Maps (X·Y·Z, C).
        shape: X, Y, Z.
        voxels: Voxel indices (3, n), may be fractional.

    Returns:
        Values float32 (C, n).
    """
    found = np.empty((table.shape[1], voxels.shape[1]), np.float32)
    for start in range(0, voxels.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        base, shares = _corners(shape, voxels[:, part])
        total = np.zeros((base.size, table.shape[1]), np.float32)
        for step, weight in _cube(shape, shares):
            total += table.take(base + step, axis=0) * weight[:, None]
        found[:, part] = total.T
    return found


def values_at(volume: Float, voxels: Float) -> Float:
    """Interpolate one volume trilinearly; beyond the edge, the edge's value continues.

    Args:
        volume: Values (X, Y, Z).
        voxels: Voxel indices (3, n), may be fractional.

    Returns:
        Values float32 (n,).
    """
    x, y, z = volume.shape
    flat = np.ascontiguousarray(volume).ravel()
    found = np.empty(voxels.shape[1], np.float32)
    for start in range(0, len(found), _BLOCK):
        part = slice(start, start + _BLOCK)
        base, shares = _corners((x, y, z), voxels[:, part])
        total = np.zeros(base.size, np.float32)
        for step, weight in _cube((x, y, z), shares):
            total += flat.take(base + step) * weight
        found[part] = total
    return found


def resampled(
    volume: Float, matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, int, int], where: Mask
) -> Float:
    """Resample a volume trilinearly: voxel v of the result holds the volume at matrix @ v + offset.

    Args:
        volume: Values (X, Y, Z).
        matrix: (3, 3).
        offset: (3,).
        shape: Shape of the result.
        where: The voxels of the result that are computed; all others are 0.

    Returns:
        Values float32 of `shape`.
    """
    image = np.zeros(shape, np.float32)
    image[where] = values_at(volume, _mapped(matrix, offset, where))
    return image


def mask_at(mask: Mask, matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, int, int]) -> Mask:
    """Resample a mask by nearest neighbour: voxel v of the result says whether matrix @ v + offset lies on the mask.

    Args:
        mask: Bool (X, Y, Z); beyond its edge there is no mask.
        matrix: (3, 3).
        offset: (3,).
        shape: Shape of the result.

    Returns:
        Bool of `shape`.
    """
    found = np.ones(shape, bool)
    base = np.zeros(shape, np.intp)
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    for row, start, count in zip(matrix.astype(np.float32), offset, mask.shape, strict=True):
        parts = [weight * grid.astype(np.float32) for weight, grid in zip(row, grids, strict=True)]
        place = (parts[0] + parts[1] + (parts[2] + np.float32(start + 0.5))).astype(np.int32)
        found &= (place >= 0) & (place < count)
        base = base * count + place.clip(0, count - 1)
    return np.asarray(found & mask.ravel().take(base))


def _mapped(matrix: NDArray[np.float64], offset: NDArray[np.float64], where: Mask) -> Float:
    """Compute matrix @ v + offset for the voxels v of a mask: (3, n)."""
    voxels = np.stack(np.unravel_index(np.flatnonzero(where), where.shape)).astype(np.float32)
    points = np.empty_like(voxels)
    for row in range(3):
        points[row] = np.float32(offset[row])
        for column in range(3):
            points[row] += np.float32(matrix[row, column]) * voxels[column]
    return points


def _corners(shape: tuple[int, int, int], voxels: Float) -> tuple[NDArray[np.intp], Float]:
    """Find the flat index of the lower corner of the cube around each point, and the point's place in it (3, n)."""
    base = np.zeros(voxels.shape[1], np.intp)
    shares = np.empty_like(voxels)
    for axis, count in enumerate(shape):
        position = voxels[axis].clip(0, count - 1)
        low = np.minimum(position.astype(np.intp), max(count - 2, 0))
        shares[axis] = position - low
        base = base * count + low
    return base, shares


def _cube(shape: tuple[int, int, int], shares: Float) -> list[tuple[int, Float]]:
    """List step in the flat index and weight of each of the eight corners."""
    _, y, z = shape
    steps = (y * z, z, 1)
    corners: list[tuple[int, Float]] = []
    for number in range(8):
        bits = [(number >> axis) & 1 for axis in range(3)]
        first, second, third = (s if bit else 1 - s for bit, s in zip(bits, shares, strict=True))
        corners.append((sum(b * s for b, s in zip(bits, steps, strict=True)), first * second * third))
    return corners
