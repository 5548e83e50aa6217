"""The shape of one lesion: it spreads from a point through free ground, on cells finer than voxels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import label_components
from lesionloss.synth.fields import Axes, Float, Mask
from lesionloss.synth.interpolation import values_at

_CELLS = 7  # cells along the edge of a cube of the lesion's volume
_CELL_MM = (0.4, 1.6)
_LEAST = 0.6  # a lesion that finds less than this share of its volume has no room


@dataclass(frozen=True)
class LesionSeed:
    """Where and how a lesion starts; `metric` (3, 3) is the cost of a step: 1 across, less along the lesion's axis."""

    centre_mm: tuple[float, float, float]
    metric: NDArray[np.float64]
    roughness: float


@dataclass(frozen=True, eq=False)
class GrownLesion:
    """A lesion at one visit on a window of the grid: share of each voxel, and its signal there, 1 in the core."""

    share: Float
    signal: Float


def grow_lesion(
    generator: np.random.Generator,
    seed: LesionSeed,
    volumes_mm3: tuple[float, ...],
    softness: float,
    ground: Mask,
    axes: Axes,
    multiples: tuple[int, int, int],
) -> tuple[tuple[slice, slice, slice], tuple[GrownLesion, ...]] | None:
    """Grow a lesion to the given volumes, the smaller inside the larger.

    Cells are taken in the order of their distance in the seed's metric, roughened by smooth noise, as long as they
    connect to the start.

    Args:
        generator: Draws the roughness.
        seed: Where and how the lesion starts.
        volumes_mm3: One volume per visit.
        softness: How much weaker the border's signal is than the core's.
        ground: Where a lesion may be (X, Y, Z).
        axes: The grid.
        multiples: The edges of the window lie on multiples of these numbers of voxels.

    Returns:
        The window, and the lesion at each visit; None where there is no room.
    """
    largest = max(volumes_mm3)
    cell = float(np.clip(largest ** (1 / 3) / _CELLS, *_CELL_MM))
    reach = int(np.ceil(2.2 * (largest * 0.239) ** (1 / 3) / cell)) + 3
    steps = np.arange(-reach, reach + 1, dtype=np.float64) * cell
    free = _free(ground, axes, seed.centre_mm, steps)
    if not free[reach, reach, reach]:
        return None
    cost = _cost(generator, steps, cell, seed)
    window = _aligned(axes.window(seed.centre_mm, reach * cell), axes.shape, multiples)
    bodies: dict[float, GrownLesion] = {}
    for volume in sorted(set(volumes_mm3), reverse=True):
        limit = _limit(cost, free, volume / cell**3) if volume > 0 else 0.0
        if limit is None:
            return None
        region = _connected(cost, free, limit) if volume > 0 else np.zeros_like(free)
        signal = region * (1 - np.float32(softness) * (cost / np.float32(limit or 1)) ** 2)
        share = region.astype(np.float32)
        bodies[volume] = GrownLesion(*(_on_grid(part, steps, cell, seed, axes, window) for part in (share, signal)))
    return window, tuple(bodies[volume] for volume in volumes_mm3)


def _free(ground: Mask, axes: Axes, centre: tuple[float, float, float], steps: NDArray[np.float64]) -> Mask:
    """Look up the ground at each cell, that of the voxel it lies in; there is none beyond the grid."""
    places = [
        np.rint((middle + steps - axis[0]) / (axis[1] - axis[0])).astype(np.intp)
        for middle, axis in zip(centre, axes, strict=True)
    ]
    inside = [(place >= 0) & (place < n) for place, n in zip(places, ground.shape, strict=True)]
    clipped = [place.clip(0, n - 1) for place, n in zip(places, ground.shape, strict=True)]
    x, y, z = (part.reshape(shape) for part, shape in zip(inside, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True))
    return np.asarray(ground[np.ix_(*clipped)] & x & y & z)


def _cost(generator: np.random.Generator, steps: NDArray[np.float64], cell: float, seed: LesionSeed) -> Float:
    from scipy import ndimage

    shape = (len(steps),) * 3
    rough = ndimage.gaussian_filter(generator.standard_normal(shape, dtype=np.float32), 1.6 / cell)
    rough /= rough.std() + np.float32(1e-6)
    grids = np.meshgrid(steps, steps, steps, indexing="ij", sparse=True)
    distance2 = np.zeros(shape)
    for row in seed.metric:
        distance2 += sum((weight * grid for weight, grid in zip(row, grids, strict=True)), np.zeros(1)) ** 2
    return np.asarray(np.sqrt(distance2) * np.exp(seed.roughness * rough), dtype=np.float32)


def _connected(cost: Float, free: Mask, limit: float) -> Mask:
    """Find the cells up to a cost that connect to the middle through one another's faces."""
    pieces, _ = label_components(free & (cost <= limit), 6)
    middle = pieces[tuple(n // 2 for n in cost.shape)]
    return np.asarray((pieces == middle) & (pieces > 0))


def _limit(cost: Float, free: Mask, wanted: float) -> float | None:
    """Find the least cost at which the connected cells are as many as wanted, by bisection; None if they never are."""
    low, high = 0.0, float(cost[0, cost.shape[1] // 2, cost.shape[2] // 2])
    if _connected(cost, free, high).sum() < _LEAST * wanted:
        return None
    for _ in range(9):
        middle = (low + high) / 2
        if _connected(cost, free, middle).sum() < wanted:
            low = middle
        else:
            high = middle
    return high


def _aligned(
    window: tuple[slice, slice, slice], shape: tuple[int, int, int], multiples: tuple[int, int, int]
) -> tuple[slice, slice, slice]:
    first, second, third = (
        slice(part.start // multiple * multiple, min(n, -(-part.stop // multiple) * multiple))
        for part, n, multiple in zip(window, shape, multiples, strict=True)
    )
    return first, second, third


def _on_grid(
    cells: Float,
    steps: NDArray[np.float64],
    cell: float,
    seed: LesionSeed,
    axes: Axes,
    window: tuple[slice, slice, slice],
) -> Float:
    """Average cells over about a voxel, and read them at the voxels' centres."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(cells, [0.35 * max(step / cell, 1) for step in axes.spacing_mm])
    local = [
        ((axis - middle) / cell + len(steps) // 2).astype(np.float32)
        for axis, middle in zip(axes.cropped(window), seed.centre_mm, strict=True)
    ]
    shape = tuple(len(places) for places in local)
    points = np.stack([grid.ravel() for grid in np.meshgrid(*local, indexing="ij")])
    inside = np.logical_and.reduce([(row >= 0) & (row <= len(steps) - 1) for row in points])
    values = np.zeros(points.shape[1], np.float32)
    values[inside] = values_at(smooth, np.ascontiguousarray(points[:, inside]))
    return values.reshape(shape)
