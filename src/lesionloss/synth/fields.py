"""Grids in millimetres, and smooth random fields that are the same at every voxel size."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

# The box of patient space that every grid lies in: the MNI152 brain, 8 % larger, with a margin for the deformation.
BOX_MM = ((-86.0, 86.0), (-124.0, 90.0), (-86.0, 98.0))

# Mean over space of the squared cubic B-spline basis: the variance that one axis leaves of white coefficients.
_SPLINE_POWER = 151 / 315


class Axes(NamedTuple):
    """World coordinates in mm of the voxel centres along each axis (RAS+), equally spaced."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        return len(self.x), len(self.y), len(self.z)

    @property
    def spacing_mm(self) -> Spacing:
        """Edge lengths of a voxel."""
        x, y, z = (float(axis[1] - axis[0]) for axis in self)
        return x, y, z

    @property
    def origin_mm(self) -> NDArray[np.float64]:
        """World coordinates of the first voxel (3,)."""
        return np.array([axis[0] for axis in self])

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm))

    def affine(self) -> NDArray[np.float64]:
        """Make the affine from voxel index to world mm: (4, 4)."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def world_mm(self, voxel: NDArray[np.float64]) -> tuple[float, float, float]:
        """Convert a voxel index to world coordinates.

        Args:
            voxel: Index (3,), may be fractional.

        Returns:
            World coordinates in mm.
        """
        x, y, z = (float(v) for v in self.origin_mm + np.array(self.spacing_mm) * voxel)
        return x, y, z

    def pooled(self, counts: tuple[int, int, int]) -> "Axes":
        """Make the axes of blocks of `counts` voxels; the counts must divide the shape."""
        return Axes(*(axis.reshape(-1, count).mean(axis=1) for axis, count in zip(self, counts, strict=True)))

    def window(self, centre_mm: tuple[float, float, float], reach_mm: float) -> tuple[slice, slice, slice]:
        """Find the voxels within a cube around a point."""
        spans = [np.searchsorted(a, (c - reach_mm, c + reach_mm)) for a, c in zip(self, centre_mm, strict=True)]
        first, second, third = (slice(int(a), int(b)) for a, b in spans)
        return first, second, third

    def cropped(self, window: tuple[slice, slice, slice]) -> "Axes":
        """Make the axes of a window of voxels."""
        return Axes(self.x[window[0]], self.y[window[1]], self.z[window[2]])


def box_axes(spacing_mm: float) -> Axes:
    """Make the grid of voxel size `spacing_mm` that fills the box."""
    return axes_within(BOX_MM, (spacing_mm,) * 3, (1, 1, 1))


def axes_within(
    bounds_mm: tuple[tuple[float, float], ...], spacing_mm: Spacing, multiples: tuple[int, int, int]
) -> Axes:
    """Make a grid from the lower bounds to just beyond the upper ones; `multiples` divide its numbers of voxels."""
    axes: list[NDArray[np.float64]] = []
    for (low, high), step, multiple in zip(bounds_mm, spacing_mm, multiples, strict=True):
        count = int(np.floor((high - low) / step + 0.5)) + 1
        axes.append(np.asarray(low + step * np.arange(-(-count // multiple) * multiple), dtype=np.float64))
    return Axes(*axes)


def upsampled(coarse: Float, source: Axes, target: Axes) -> Float:
    """Interpolate linearly from one grid to another, axis by axis; beyond the edge, the edge's value continues.

    Args:
        coarse: Values (X, Y, Z) on `source`.
        source: The grid of the values.
        target: The grid of the result.

    Returns:
        Values on `target`.
    """
    values = coarse
    for axis, (known, wanted) in enumerate(zip(source, target, strict=True)):
        position = ((wanted - known[0]) / (known[1] - known[0])).clip(0, len(known) - 1)
        low = np.minimum(position.astype(np.intp), len(known) - 2)
        share = _along((position - low).astype(np.float32), axis)
        values = values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share
    return values


def smooth_field(generator: np.random.Generator, axes: Axes, knot_mm: float, limit: float = 3.0) -> Float:
    """Draw a smooth random field: a cubic B-spline with normal coefficients cut at ±`limit`, of mean 0 and sd about 1.

    Args:
        generator: Draws the coefficients.
        axes: The grid.
        knot_mm: Distance of the knots.
        limit: Largest absolute coefficient.

    Returns:
        Values float32 (X, Y, Z), the same field at every voxel size.
    """
    knots = [int(np.ceil((high - low) / knot_mm)) + 3 for low, high in BOX_MM]
    draws = generator.standard_normal(knots).clip(-limit, limit)
    coarse = coarsened(axes, knot_mm / 4)
    field = (draws / _SPLINE_POWER**1.5).astype(np.float32)
    for axis, (positions, (low, _)) in enumerate(zip(coarse, BOX_MM, strict=True)):
        field = _spline(field, axis, (positions - low) / knot_mm)
    return field if coarse is axes else upsampled(field, coarse, axes)


def coarsened(axes: Axes, spacing_mm: float) -> Axes:
    """Make a grid over the same span with voxels of `spacing_mm`; the same grid where it is coarser already."""
    return axes if max(axes.spacing_mm) >= spacing_mm else regridded(axes, spacing_mm)


def regridded(axes: Axes, spacing_mm: float) -> Axes:
    """Make a grid over the same span with voxels of `spacing_mm`."""
    bounds = tuple((float(axis[0]), float(axis[-1]) + spacing_mm) for axis in axes)
    return axes_within(bounds, (spacing_mm,) * 3, (1, 1, 1))


def _spline(coefficients: Float, axis: int, position: NDArray[np.float64]) -> Float:
    """Evaluate the cubic B-spline along one axis at positions in knots from the start of the box."""
    first = np.floor(position).clip(0, coefficients.shape[axis] - 4).astype(np.intp)
    t = position - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    values = [
        _along((weight / 6).astype(np.float32), axis) * coefficients.take(first + k, axis)
        for k, weight in enumerate(weights)
    ]
    return np.asarray(sum(values[1:], values[0]), dtype=np.float32)


def _along(values: Float, axis: int) -> Float:
    return values.reshape([-1 if other == axis else 1 for other in range(3)])
