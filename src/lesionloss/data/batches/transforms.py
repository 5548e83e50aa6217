"""Spatial augmentation: flips and quarter turns move whole voxels, all other transforms move the points of reading.

Points are moved before a patch is cut from its case, so a rotated patch shows image, not padding, at its corners, and
the image is interpolated once, whatever the number of transforms. Channels are interpolated linearly, reference and
valid voxels by nearest neighbour, so that no class is invented.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Range, Share
from lesionloss.data.batches.patches import Patch, Size

if TYPE_CHECKING:
    from torch import Tensor

Degrees = Annotated[float, Range(0, 180)]
Magnification = Annotated[float, Range(0.25, 4)]
Voxels = Annotated[float, Range(0)]
LATTICE = 2  # lattice points of a displacement field per standard deviation of its smoothing
REACH = 3  # standard deviations after which the smoothing is cut off


@runtime_checkable
class VoxelTransform(Protocol):
    """A transform that moves whole voxels, without interpolation."""

    def move_voxels(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """Move image, reference and valid voxels alike.

        Args:
            patch: The patch.
            rng: The generator that draws.

        Returns:
            A patch of the same size.
        """
        ...


@runtime_checkable
class PointTransform(Protocol):
    """A transform that moves the points at which a case is read."""

    def move_points(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """Move the points of a patch.

        Args:
            points: Homogeneous coordinates (axes + 1, *size), in voxels from the patch's centre.
            spacing_mm: Edge lengths of a voxel.
            rng: The generator that draws.

        Returns:
            New points, or None where nothing moves.
        """
        ...


@dataclass(frozen=True)
class Flip:
    """Flip along each of `axes` (all, if None), each with `probability`."""

    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def move_voxels(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """See `VoxelTransform`."""
        axes = axes_of(self.axes, patch.reference.ndim, "flip")
        drawn = rng.random(len(axes)) < self.probability
        return flip_patch(patch, tuple(axis for axis, flip in zip(axes, drawn, strict=True) if flip))


@dataclass(frozen=True)
class Rotate90:
    """Rotate by 0 to 3 quarter turns in the plane of two `axes`, equally likely; by half turns if it is not square."""

    axes: tuple[int, ...] = (0, 1)

    def move_voxels(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """See `VoxelTransform`."""
        a, b = plane_of(self.axes, patch.reference.ndim, "rotate90")
        square = patch.reference.shape[a] == patch.reference.shape[b]
        quarters = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
        return Patch(
            np.rot90(patch.image, quarters, (a + 1, b + 1)),
            np.rot90(patch.reference, quarters, (a, b)),
            np.rot90(patch.valid, quarters, (a, b)),
        )


@dataclass(frozen=True)
class Rotate:
    """Rotate by up to `degrees` either way, uniformly, in the plane of two `axes` or, if None, in every plane.

    The rotation is one of the anatomy: in millimetres, whatever the voxels' edges.
    """

    degrees: Degrees = 15.0
    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def move_points(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        n = len(points) - 1
        planes = [(a, b) for a in range(n) for b in range(a + 1, n)]
        if self.axes is not None:
            planes = [plane_of(self.axes, n, "rotate")]
        rotation = np.eye(n)
        for a, b in planes:
            angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
            plane = np.eye(n)
            plane[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
            rotation = rotation @ plane
        edges = np.asarray(spacing_mm, dtype=np.float64)
        return _through(points, rotation * edges[None, :] / edges[:, None])


@dataclass(frozen=True)
class Scale:
    """Magnify by a factor from `low` to `high`, uniform, the same along all axes."""

    low: Magnification = 0.85
    high: Magnification = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "scale")

    def move_points(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        return _through(points, np.eye(len(points) - 1) / rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class Elastic:
    """Displace by a smooth random field: each component is a Gaussian field smoothed by `sigma` voxels.

    The standard deviation of a component, in voxels, is drawn uniformly from 0 to `displacement`. With `axes`, points
    move along these two only: slices of volumes keep to themselves.
    """

    displacement: Voxels = 2.0
    sigma: Annotated[float, Range(2)] = 10.0
    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def move_points(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        import torch

        moved, n = points.clone(), len(points) - 1
        axes = list(axes_of(self.axes, n, "elastic"))
        deviation = float(rng.uniform(0, self.displacement))
        moved[axes] += deviation * torch.from_numpy(smooth_field(tuple(points.shape[1:]), self.sigma, rng))[axes]
        return moved


def smooth_field(size: Size, sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw independent smooth Gaussian fields of mean 0 and variance 1.

    White noise is smoothed on a lattice of half a sigma and interpolated, which loses nothing of so smooth a field.
    SciPy smooths, because the bits of a convolution in torch depend on the number of threads.

    Args:
        size: Voxels along each axis.
        sigma: Standard deviation of the smoothing, in voxels.
        rng: The generator that draws.

    Returns:
        Fields float32 (axes, *size).
    """
    import torch
    from scipy.ndimage import gaussian_filter

    n = len(size)
    step = max(1, int(sigma / LATTICE))
    width = sigma / step
    margin = int(np.ceil(REACH * width))
    lattice = [-(-length // step) + 1 for length in size]
    noise = rng.standard_normal((1, n, *(length + 2 * margin for length in lattice)), dtype=np.float32)
    smooth = gaussian_filter(noise, width, truncate=REACH, axes=tuple(range(2, n + 2)))
    crop = (slice(None), slice(None), *(slice(margin, margin + length) for length in lattice))
    inner = torch.from_numpy(smooth[crop])
    mode = {2: "bilinear", 3: "trilinear"}[n]
    field = torch.nn.functional.interpolate(inner, size=size, mode=mode, align_corners=True)[0]
    variance = (1 / (2 * np.sqrt(np.pi) * width)) ** n
    return np.asarray(field.numpy() / np.sqrt(variance), dtype=np.float32)


def flip_patch(patch: Patch, axes: Size) -> Patch:
    """Flip a patch along axes, as views."""
    if not axes:
        return patch
    step = tuple(slice(None, None, -1 if axis in axes else 1) for axis in range(patch.reference.ndim))
    return Patch(patch.image[(slice(None), *step)], patch.reference[step], patch.valid[step])


def axes_of(axes: tuple[int, ...] | None, n: int, name: str) -> tuple[int, ...]:
    """Return the chosen axes, of `n`; None chooses all.

    Raises:
        UsageError: They are not a tuple of numbers from 0 to `n` - 1.
    """
    if axes is None:
        return tuple(range(n))
    if not isinstance(axes, tuple) or any(not isinstance(axis, int) or not 0 <= axis < n for axis in axes):
        raise UsageError(f"{name}: axes are numbers from 0 to {n - 1}, such as (0, 1), got {axes!r}")
    return axes


def plane_of(axes: tuple[int, ...], n: int, name: str) -> tuple[int, int]:
    """Return two different axes, of `n`.

    Raises:
        UsageError: They are anything else.
    """
    plane = axes_of(axes, n, name)
    if len(plane) != 2 or plane[0] == plane[1]:
        raise UsageError(f"{name}: axes are two different numbers, such as (0, 1), got {axes!r}")
    return plane[0], plane[1]


def check_low_high(low: float, high: float, name: str) -> None:
    """Check that a range is in order.

    Raises:
        UsageError: Low is above high.
    """
    if low > high:
        raise UsageError(f"{name}: low must be at most high, got {low} and {high}")


def _through(points: "Tensor", matrix: npt.NDArray[np.float64]) -> "Tensor":
    """Map points (axes + 1, *size) by a matrix (axes, axes)."""
    import torch
    from monai.transforms.spatial.array import AffineGrid

    whole = np.eye(len(points))
    whole[:-1, :-1] = matrix
    moved, _ = AffineGrid(affine=torch.from_numpy(whole), dtype=np.float32)(grid=points)
    return torch.as_tensor(moved)
