"""Images and labels resampled onto a grid with parallel axes, axis by axis.

Cubic B-spline interpolation is then one small matrix per axis: exact, and several times faster than evaluating the
spline voxel by voxel. Grids that are rotated against each other go through `lesionloss.data.resampling.along_motion`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.components import label_components
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.resampling.lesion_labels import LesionCount, classes_in, keep_lesions


def _positions(source: VoxelGrid, target: VoxelGrid, axis: int) -> npt.NDArray[np.float64]:
    """Where the target's voxels of an axis lie, in voxels of the source. The axes of both are parallel."""
    direction = source.affine[:3, axis]
    unit = direction / float(direction @ direction)
    start = float((target.affine[:3, 3] - source.affine[:3, 3]) @ unit)
    return np.asarray(start + np.arange(target.shape[axis]) * float(target.affine[:3, axis] @ unit), dtype=np.float64)


def _unchanged(positions: npt.NDArray[np.float64], length: int) -> bool:
    return len(positions) == length and bool(np.allclose(positions, np.arange(length), atol=1e-6))


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cubic B-spline at distance x (Unser 1999, eq. 6)."""
    x = np.abs(x)
    inner = 2 / 3 - x**2 + x**3 / 2
    return np.where(x < 1, inner, np.where(x < 2, (2 - x) ** 3 / 6, 0.0))


def _spline_matrix(positions: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float32]:
    """(len(positions), length): cubic B-spline interpolation of one axis, mirrored at its ends."""
    from scipy import ndimage

    if length == 1:
        return np.ones((len(positions), 1), dtype=np.float32)
    coefficients = np.asarray(ndimage.spline_filter1d(np.eye(length), order=3, axis=0, mode="mirror"))
    inside = np.clip(positions, 0, length - 1)
    first = np.floor(inside).astype(np.int64) - 1
    weights = np.zeros((len(positions), length))
    for tap in range(4):
        index = first + tap
        mirrored = np.abs(index)
        mirrored = np.where(mirrored > length - 1, 2 * (length - 1) - mirrored, mirrored) % length
        np.add.at(weights, (np.arange(len(positions)), mirrored), _cubic(inside - index))
    return np.asarray(weights @ coefficients, dtype=np.float32)


def _linear_matrix(positions: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float32]:
    """(len(positions), length): linear interpolation of one axis between its two neighbours."""
    inside = np.clip(positions, 0, length - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(inside[:, None] - np.arange(length))), dtype=np.float32)


def resample_image(
    image: npt.NDArray[np.float32], source: VoxelGrid, target: VoxelGrid, interpolation: str = "cubic"
) -> npt.NDArray[np.float32]:
    """Resample an image onto a grid with parallel axes.

    Values stay within the range of the image, because splines ring at sharp edges. Beyond the border its edge
    continues.

    Args:
        image: Intensities (*space) on `source`.
        source: The grid of the image.
        target: A grid with axes parallel to those of `source`.
        interpolation: `cubic`: B-splines; `linear`: between the two neighbours along each axis.

    Returns:
        Intensities (*space) on `target`.
    """
    result, matrix_of = image, _linear_matrix if interpolation == "linear" else _spline_matrix
    # Axes that shrink go first: what follows has less to do.
    order = sorted(range(image.ndim), key=lambda axis: target.shape[axis] / source.shape[axis])
    for axis in order:
        positions = _positions(source, target, axis)
        if _unchanged(positions, source.shape[axis]):
            continue
        matrix = matrix_of(positions, source.shape[axis])
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    if result is image:
        return image
    return np.ascontiguousarray(np.clip(result, image.min(), image.max()), dtype=np.float32)


def resample_nearest(array: npt.NDArray[Any], source: VoxelGrid, target: VoxelGrid) -> npt.NDArray[Any]:
    """Resample an array onto a grid with parallel axes; each voxel takes the value of the nearest one.

    Args:
        array: Values (*space) on `source`, of any type.
        source: The grid of the array.
        target: A grid with axes parallel to those of `source`.

    Returns:
        Values (*space) on `target`, of the same type.
    """
    result = array
    for axis in range(array.ndim):
        nearest = np.floor(_positions(source, target, axis) + 0.5).astype(np.int64)
        result = np.take(result, np.clip(nearest, 0, source.shape[axis] - 1), axis=axis)
    return np.ascontiguousarray(result)


def _share_matrix(positions: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float32]:
    """(len(positions), length): linear interpolation where voxels shrink, the mean over a voxel where they grow."""
    step = abs(float(positions[1] - positions[0])) if len(positions) > 1 else float(length)
    width = max(step, 1.0)
    distance = np.abs(positions[:, None] - np.arange(length)[None, :])
    weights = np.maximum(0.0, 1.0 - distance / width)
    totals = weights.sum(1, keepdims=True)
    return np.asarray(weights / np.where(totals > 0, totals, 1.0), dtype=np.float32)


def resample_labels(
    labels: npt.NDArray[np.uint8], source: VoxelGrid, target: VoxelGrid
) -> tuple[npt.NDArray[np.uint8], LesionCount]:
    """Resample class numbers onto a grid with parallel axes so that no lesion vanishes.

    A voxel takes the class that fills most of it, at least half. A lesion of which nothing would be left keeps the
    voxel nearest to its centre.

    Args:
        labels: Class numbers (*space) on `source`, 0 background.
        source: The grid of the labels.
        target: A grid with axes parallel to those of `source`.

    Returns:
        Class numbers (*space) on `target`, and how many lesions there were before and after.
    """
    positions = [_positions(source, target, axis) for axis in range(labels.ndim)]
    if all(_unchanged(at, length) for at, length in zip(positions, source.shape, strict=True)):
        count = sum(label_components(labels == number, 26)[1] for number in classes_in(labels))
        return labels, LesionCount(count, count, 0)
    result = np.zeros(target.shape, dtype=labels.dtype)
    if not labels.any():
        return result, LesionCount(0, 0, 0)
    near = [_near(at, labels, axis) for axis, at in enumerate(positions)]
    matrices = [_share_matrix(at[box], length) for at, box, length in zip(positions, near, source.shape, strict=True)]
    here = result[tuple(near)]
    most = np.full(here.shape, 0.5 - 1e-6, dtype=np.float32)
    for number in classes_in(labels):
        share = (labels == number).astype(np.float32)
        for axis, matrix in enumerate(matrices):
            share = np.moveaxis(np.tensordot(matrix, share, axes=(1, axis)), 0, axis)
        better = share > most
        here[better], most = number, np.maximum(most, share)
    return keep_lesions(labels, result, np.linalg.inv(target.affine) @ source.affine)


def _near(positions: npt.NDArray[np.float64], labels: npt.NDArray[np.uint8], axis: int) -> slice:
    """The target's voxels along an axis that any label can reach."""
    used = np.flatnonzero(labels.any(axis=tuple(other for other in range(labels.ndim) if other != axis)))
    step = abs(float(positions[1] - positions[0])) if len(positions) > 1 else float(labels.shape[axis])
    reach = max(step, 1.0)
    inside = np.flatnonzero((positions >= used[0] - reach) & (positions <= used[-1] + reach))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
