"""Smooth random fields in millimetres: the same generator gives the same field at every voxel size."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

# The box of patient space that every grid lies in: the MNI152 brain, 8 % larger, with a margin for the deformation.
BOX_MM = ((-86.0, 86.0), (-124.0, 90.0), (-86.0, 98.0))

# Mean over space of the squared cubic B-spline basis: the variance that one axis leaves of white coefficients.
_SPLINE_POWER = 151 / 315


class Axes(NamedTuple):
    """World coordinates in mm of the voxel centres along each axis (RAS+)."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.x), len(self.y), len(self.z)

    @property
    def spacing_mm(self) -> float:
        return float(self.x[1] - self.x[0])

    def cropped(self, window: tuple[slice, slice, slice]) -> "Axes":
        return Axes(self.x[window[0]], self.y[window[1]], self.z[window[2]])

    def affine(self) -> NDArray[np.float64]:
        """Voxel index to world, (4, 4)."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = self.x[0], self.y[0], self.z[0]
        return affine

    def world_mm(self, voxel: NDArray[np.float64]) -> tuple[float, float, float]:
        """World coordinates of a (fractional) voxel index."""
        x, y, z = (float(axis[0] + self.spacing_mm * v) for axis, v in zip(self, voxel, strict=True))
        return x, y, z


def box_axes(spacing_mm: float) -> Axes:
    """The grid of voxel size `spacing_mm` that fills the box."""
    return Axes(*(np.arange(low, high + spacing_mm / 2, spacing_mm) for low, high in BOX_MM))


def _spline_matrix(positions_mm: NDArray[np.float64], low: float, high: float, knot_mm: float) -> tuple[Float, int]:
    """Values of the cubic B-splines with knots every `knot_mm` over [low, high]: (positions, knots)."""
    knots = int(np.ceil((high - low) / knot_mm)) + 3
    t = np.abs((positions_mm[:, None] - low) / knot_mm + 1 - np.arange(knots)[None, :])
    near = (4 - 6 * t**2 + 3 * t**3) / 6
    far = (2 - t) ** 3 / 6
    return np.where(t < 1, near, np.where(t < 2, far, 0)).astype(np.float32), knots


def smooth_field(generator: np.random.Generator, axes: Axes, knot_mm: float, limit: float = 3.0) -> Float:
    """A cubic B-spline surface with normal coefficients cut at ±`limit`: mean 0, sd about 1, (X, Y, Z) float32."""
    bases = [_spline_matrix(axis, *span, knot_mm) for axis, span in zip(axes, BOX_MM, strict=True)]
    draws = generator.standard_normal([knots for _, knots in bases]).clip(-limit, limit)
    field = (draws / _SPLINE_POWER**1.5).astype(np.float32)
    for basis, _ in bases:  # einsum, not BLAS: the bits do not depend on the number of threads
        field = np.einsum("abc,ia->bci", field, basis)
    return np.ascontiguousarray(field)
