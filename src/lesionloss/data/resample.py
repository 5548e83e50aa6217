"""Images and labels on another grid, axis by axis; labels so that no lesion vanishes.

The axes of both grids are parallel, so cubic B-spline interpolation is one small matrix per axis: exact, and several
times faster than evaluating the spline voxel by voxel. Grids that are turned against each other go through
`lesionloss.data.register`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.components import label_components
from lesionloss.data.volume import Affine

# Spacings that differ by less are one spacing: resampling would only blur.
SAME_SPACING = 1e-4


@dataclass(frozen=True)
class LesionCount:
    """Lesions (26-connected components of one class, 8-connected in two dimensions) before and after resampling.

    `kept_by_centre` had no voxel left and were given the one at their centre. `after` differs from `before` only where
    neighbours touch now or a thin bridge has parted.
    """

    before: int
    after: int
    kept_by_centre: int


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and affine (4, 4) of an image; two-dimensional images have two lengths and use the affine's first two."""

    shape: tuple[int, ...]
    affine: Affine

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Edge lengths of a voxel, one per axis."""
        return tuple(float(edge) for edge in np.linalg.norm(self.affine[:3, : len(self.shape)], axis=0))


def grid_with_spacing(grid: Grid, spacing_mm: tuple[float, ...]) -> Grid:
    """The grid of another spacing over the same field of view: outer borders coincide to within half a voxel.

    Axes whose spacing is kept keep their voxels exactly.
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
    return Grid(tuple(shape), affine)


def part_of(grid: Grid, box: tuple[slice, ...]) -> Grid:
    """The grid of a box of a grid's voxels."""
    affine = grid.affine.copy()
    start = np.array([side.start for side in box], dtype=np.float64)
    affine[:3, 3] = grid.affine[:3, : len(box)] @ start + grid.affine[:3, 3]
    return Grid(tuple(int(side.stop - side.start) for side in box), affine)


def _positions(source: Grid, target: Grid, axis: int) -> npt.NDArray[np.float64]:
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


def resample_image(image: npt.NDArray[np.float32], source: Grid, target: Grid) -> npt.NDArray[np.float32]:
    """An image (*space) on a grid with parallel axes, by cubic B-splines; beyond the border its edge continues.

    Values are kept within the range of the image: splines ring at sharp edges.
    """
    result = image
    # Axes that shrink go first: what follows has less to do.
    order = sorted(range(image.ndim), key=lambda axis: target.shape[axis] / source.shape[axis])
    for axis in order:
        positions = _positions(source, target, axis)
        if _unchanged(positions, source.shape[axis]):
            continue
        matrix = _spline_matrix(positions, source.shape[axis])
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    if result is image:
        return image
    return np.ascontiguousarray(np.clip(result, image.min(), image.max()), dtype=np.float32)


def resample_nearest(array: npt.NDArray[Any], source: Grid, target: Grid) -> npt.NDArray[Any]:
    """An array (*space) on a grid with parallel axes: each voxel takes the value of the nearest one."""
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
    labels: npt.NDArray[np.uint8], source: Grid, target: Grid
) -> tuple[npt.NDArray[np.uint8], LesionCount]:
    """Class numbers (*space) on a grid with parallel axes, and how many lesions there were before and after.

    A voxel takes the class that fills most of it, at least half. A lesion of which nothing would be left keeps the
    voxel nearest to its centre. Shape and dtype are those of the target's grid and of the labels.
    """
    positions = [_positions(source, target, axis) for axis in range(labels.ndim)]
    if all(_unchanged(at, length) for at, length in zip(positions, source.shape, strict=True)):
        count = sum(label_components(labels == number, 26)[1] for number in _classes(labels))
        return labels, LesionCount(count, count, 0)
    result = np.zeros(target.shape, dtype=labels.dtype)
    if not labels.any():
        return result, LesionCount(0, 0, 0)
    near = [_near(at, labels, axis) for axis, at in enumerate(positions)]
    matrices = [_share_matrix(at[box], length) for at, box, length in zip(positions, near, source.shape, strict=True)]
    here = result[tuple(near)]
    most = np.full(here.shape, 0.5 - 1e-6, dtype=np.float32)
    for number in _classes(labels):
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


def keep_lesions(
    before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8], to_after: Affine
) -> tuple[npt.NDArray[np.uint8], LesionCount]:
    """`after` with one voxel for each lesion of `before` that has none there.

    `to_after` (4, 4) takes voxels of `before` to voxels of `after`. A lesion beyond the border stays at the border.
    """
    axes = before.ndim
    last = np.array(after.shape) - 1
    result = after.copy()
    lesions, kept = 0, 0
    for number in _classes(before):
        components, total = label_components(before == number, 26)
        lesions += total
        where = np.argwhere(components)
        owner = components[tuple(where.T)]
        there = np.rint(where @ to_after[:axes, :axes].T + to_after[:axes, 3]).astype(np.int64).clip(0, last)
        alive = np.unique(owner[after[tuple(there.T)] == number])
        for lost in np.setdiff1d(np.arange(1, total + 1), alive):
            voxels, landed = where[owner == lost], there[owner == lost]
            order = np.linalg.norm(voxels - voxels.mean(0), axis=1).argsort(kind="stable")
            result[_free(result, landed[order], number, last)] = number
            kept += 1
    now = sum(label_components(result == number, 26)[1] for number in _classes(result))
    return result, LesionCount(lesions, now, kept)


def _free(
    result: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], number: int, last: npt.NDArray[np.int64]
) -> tuple[int, ...]:
    """The first of the places (or else of the first one's neighbours) where no other class would lose its voxel."""
    steps = np.array(list(np.ndindex(*(3 for _ in last)))) - 1
    around = (places[0] + steps[np.abs(steps).sum(1).argsort(kind="stable")]).clip(0, last)
    for place in (*places, *around):
        if result[tuple(place)] in (0, number):
            return tuple(int(x) for x in place)
    return tuple(int(x) for x in places[0])


def _classes(labels: npt.NDArray[np.uint8]) -> list[int]:
    return [int(number) for number in np.flatnonzero(np.bincount(labels.ravel(), minlength=1)) if number]
