"""What spatial augmentation has drawn for one patch: motions of points, and turns of whole voxels."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lesionloss.data.batches.patches import Patch, Size

LATTICE = 2  # lattice points of a displacement field per standard deviation of its smoothing
REACH = 3  # standard deviations after which the smoothing is cut off
Floats = npt.NDArray[np.float32]
S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Linear:
    """Points (axes,), in voxels from the patch's centre, are mapped by `matrix` (axes, axes)."""

    matrix: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SmoothField:
    """Independent smooth Gaussian fields of mean 0, one for each axis, on a lattice over a patch.

    Attributes:
        values: Float32 (axes, *lattice); the lattice's first and last points are those of the patch.
        variance: Of the fields.
    """

    values: Floats
    variance: float

    def over(self, size: Size) -> Floats:
        """Interpolate to a patch: float32 (axes, *size), of variance 1."""
        import torch

        mode = {2: "bilinear", 3: "trilinear"}[len(size)]
        inner = torch.from_numpy(self.values)[None]
        field = torch.nn.functional.interpolate(inner, size=size, mode=mode, align_corners=True)[0]
        return np.asarray(field.numpy() / np.sqrt(self.variance), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Displacement:
    """Points are displaced along `axes` by a smooth field of this standard deviation, in voxels."""

    field: SmoothField
    axes: tuple[int, ...]
    deviation: float


Motion = Linear | Displacement


@dataclass(frozen=True)
class Turn:
    """A flip along axes and then quarter turns in a plane."""

    flipped: tuple[int, ...] = ()
    quarters: int = 0
    plane: tuple[int, int] = (0, 1)

    def apply(self, array: npt.NDArray[S], axes: int) -> npt.NDArray[S]:
        """Turn the last `axes` axes of an array, as a view."""
        first = array.ndim - axes
        turned = np.flip(array, tuple(first + axis for axis in self.flipped)) if self.flipped else array
        return np.rot90(turned, self.quarters, (first + self.plane[0], first + self.plane[1]))

    def matrix(self, axes: int) -> npt.NDArray[np.float64]:
        """Return the matrix (axes, axes) that maps a voxel of the turned patch to its source, from the centre."""
        flip = np.diag([-1.0 if axis in self.flipped else 1.0 for axis in range(axes)])
        quarter, (a, b) = np.eye(axes), self.plane
        quarter[[a, a, b, b], [a, b, a, b]] = 0, 1, -1, 0
        return np.asarray(flip @ np.linalg.matrix_power(quarter, self.quarters), dtype=np.float64)


def turn_patch(patch: Patch, turn: Turn) -> Patch:
    """Turn image, reference and valid voxels alike, as views."""
    n = patch.reference.ndim
    return Patch(turn.apply(patch.image, n), turn.apply(patch.reference, n), turn.apply(patch.valid, n))


def draw_smooth_field(size: Size, sigma: float, rng: np.random.Generator) -> SmoothField:
    """Draw smooth Gaussian fields for a patch.

    White noise is smoothed on a lattice of half a sigma and interpolated, which loses nothing of so smooth a field.
    SciPy smooths, because the bits of a convolution in torch depend on the number of threads.

    Args:
        size: Voxels along each axis.
        sigma: Standard deviation of the smoothing, in voxels.
        rng: The generator that draws.
    """
    from scipy.ndimage import gaussian_filter

    n = len(size)
    step = max(1, int(sigma / LATTICE))
    width = sigma / step
    margin = int(np.ceil(REACH * width))
    lattice = [-(-length // step) + 1 for length in size]
    noise = rng.standard_normal((n, *(length + 2 * margin for length in lattice)), dtype=np.float32)
    smooth = gaussian_filter(noise, width, truncate=REACH, axes=tuple(range(1, n + 1)))
    crop = (slice(None), *(slice(margin, margin + length) for length in lattice))
    return SmoothField(np.ascontiguousarray(smooth[crop]), float((1 / (2 * np.sqrt(np.pi) * width)) ** n))
