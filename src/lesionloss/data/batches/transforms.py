"""Spatial augmentation: flips and quarter turns move whole voxels, all other transforms move the points of reading.

Here they draw; what was drawn stands in `motions`. Points are moved before a patch is cut from its case, so a rotated
patch shows image, not padding, at its corners, and the image is interpolated once, whatever the number of transforms.
Channels are interpolated linearly, reference and valid voxels by nearest neighbour, so that no class is invented.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np

from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Range, Share
from lesionloss.data.batches.motions import Displacement, Linear, Motion, Turn, draw_smooth_field
from lesionloss.data.batches.patches import Size

Degrees = Annotated[float, Range(0, 180)]
Magnification = Annotated[float, Range(0.25, 4)]
Voxels = Annotated[float, Range(0)]


@runtime_checkable
class VoxelTransform(Protocol):
    """A transform that moves whole voxels, without interpolation."""

    def draw_turn(self, size: Size, rng: np.random.Generator) -> Turn:
        """Draw how the voxels of a patch of this size move."""
        ...


@runtime_checkable
class PointTransform(Protocol):
    """A transform that moves the points at which a case is read."""

    def draw_motion(self, size: Size, spacing_mm: Sequence[float], rng: np.random.Generator) -> Motion | None:
        """Draw how the points of a patch move.

        Args:
            size: Voxels of the patch along each axis.
            spacing_mm: Edge lengths of a voxel.
            rng: The generator that draws.

        Returns:
            The motion, or None where nothing moves.
        """
        ...


@dataclass(frozen=True)
class Flip:
    """Flip along each of `axes` (all, if None), each with `probability`."""

    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def draw_turn(self, size: Size, rng: np.random.Generator) -> Turn:
        """See `VoxelTransform`."""
        axes = axes_of(self.axes, len(size), "flip")
        drawn = rng.random(len(axes)) < self.probability
        return Turn(flipped=tuple(axis for axis, flip in zip(axes, drawn, strict=True) if flip))


@dataclass(frozen=True)
class Rotate90:
    """Rotate by 0 to 3 quarter turns in the plane of two `axes`, equally likely; by half turns if it is not square."""

    axes: tuple[int, ...] = (0, 1)

    def draw_turn(self, size: Size, rng: np.random.Generator) -> Turn:
        """See `VoxelTransform`."""
        a, b = plane_of(self.axes, len(size), "rotate90")
        return Turn(quarters=int(rng.integers(4)) if size[a] == size[b] else 2 * int(rng.integers(2)), plane=(a, b))


@dataclass(frozen=True)
class Rotate:
    """Rotate by up to `degrees` either way, uniformly, in the plane of two `axes` or, if None, in every plane.

    The rotation is one of the anatomy: in millimetres, whatever the voxels' edges.
    """

    degrees: Degrees = 15.0
    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def draw_motion(self, size: Size, spacing_mm: Sequence[float], rng: np.random.Generator) -> Motion | None:
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        n = len(size)
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
        return Linear(rotation * edges[None, :] / edges[:, None])


@dataclass(frozen=True)
class Scale:
    """Magnify by a factor from `low` to `high`, uniform, the same along all axes."""

    low: Magnification = 0.85
    high: Magnification = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        """Check the settings."""
        check_low_high(self.low, self.high, "scale")

    def draw_motion(self, size: Size, spacing_mm: Sequence[float], rng: np.random.Generator) -> Motion | None:
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        return Linear(np.eye(len(size)) / rng.uniform(self.low, self.high))


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

    def draw_motion(self, size: Size, spacing_mm: Sequence[float], rng: np.random.Generator) -> Motion | None:
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        axes = axes_of(self.axes, len(size), "elastic")
        deviation = float(rng.uniform(0, self.displacement))
        return Displacement(draw_smooth_field(size, self.sigma, rng), axes, deviation)


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
