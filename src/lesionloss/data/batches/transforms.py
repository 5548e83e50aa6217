"""Geometry of augmentation: flips and quarter turns move voxels, the others bend the grid on which a case is read.

A bend changes where a patch is read from its case, before it is cut: what turns into the patch is image, not padding,
and however many bends there are, the image is interpolated once. Image channels are interpolated linearly, reference
and valid voxels by the nearest one, so no class is invented.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Range, Share
from lesionloss.data.batches.patches import Patch, Size, cut
from lesionloss.data.prepared import PreparedCase

if TYPE_CHECKING:
    from torch import Tensor

Degrees = Annotated[float, Range(0, 180)]
Magnification = Annotated[float, Range(0.25, 4)]
Voxels = Annotated[float, Range(0)]
LATTICE = 2  # lattice points of a displacement field per standard deviation of its smoothing
REACH = 3  # standard deviations after which the smoothing is cut off


@runtime_checkable
class VoxelTransform(Protocol):
    """Moves whole voxels."""

    def turn(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """The patch with image, reference and valid moved alike, of the same size."""
        ...


@runtime_checkable
class PointTransform(Protocol):
    """Moves the points at which a case is read."""

    def bend(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """New points (axes + 1, *size), homogeneous, in voxels from the patch's centre; None where nothing moves."""
        ...


@dataclass(frozen=True)
class Flip:
    """Flips along each of `axes` (all, if None), each with `probability`."""

    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def turn(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """See `VoxelTransform`."""
        axes = axes_of(self.axes, patch.reference.ndim, "flip")
        drawn = rng.random(len(axes)) < self.probability
        return flip_patch(patch, tuple(axis for axis, flip in zip(axes, drawn, strict=True) if flip))


@dataclass(frozen=True)
class Rotate90:
    """0 to 3 quarter turns in the plane of two `axes`, all alike likely; half turns only where the patch is oblong."""

    axes: tuple[int, ...] = (0, 1)

    def turn(self, patch: Patch, rng: np.random.Generator) -> Patch:
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
    """Rotation by up to `degrees` either way, uniform, in the plane of two `axes` or, if None, in every plane.

    The rotation is one of the anatomy: in millimetres, whatever the voxels' edges.
    """

    degrees: Degrees = 15.0
    axes: tuple[int, ...] | None = None
    probability: Share = 0.5

    def bend(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
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
    """Magnification by a factor from `low` to `high`, uniform, the same along all axes."""

    low: Magnification = 0.85
    high: Magnification = 1.25
    probability: Share = 0.5

    def __post_init__(self) -> None:
        check_low_high(self.low, self.high, "scale")

    def bend(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        return _through(points, np.eye(len(points) - 1) / rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class Elastic:
    """A smooth random displacement: each component a Gaussian field smoothed by `sigma` voxels.

    The standard deviation of a component, in voxels, is drawn uniformly from 0 to `displacement`.
    """

    displacement: Voxels = 2.0
    sigma: Annotated[float, Range(2)] = 10.0
    probability: Share = 0.5

    def bend(self, points: "Tensor", spacing_mm: Sequence[float], rng: np.random.Generator) -> "Tensor | None":
        """See `PointTransform`."""
        if rng.random() >= self.probability:
            return None
        import torch

        moved = points.clone()
        deviation = float(rng.uniform(0, self.displacement))
        moved[:-1] += deviation * torch.from_numpy(smooth_field(tuple(points.shape[1:]), self.sigma, rng))
        return moved


def smooth_field(size: Size, sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Independent Gaussian fields (axes, *size) of mean 0 and variance 1, smooth over `sigma` voxels.

    White noise is smoothed on a lattice of half a sigma and interpolated: a field that smooth loses nothing by it.
    SciPy smooths, because the bits of a convolution in torch depend on the number of threads.
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


def cut_transformed(
    case: PreparedCase,
    start: Size,
    size: Size,
    bends: Sequence[PointTransform],
    rng: np.random.Generator,
    *,
    padding_counts: bool = True,
) -> Patch:
    """As `cut`, but read through bends, one after the other."""
    if not bends:
        return cut(case, start, size, padding_counts=padding_counts)
    import torch
    from monai.transforms.utils import create_grid

    points = torch.as_tensor(create_grid(size, dtype=np.float32))
    moved = False
    for bend in bends:
        after = bend.bend(points, case.spacing_mm, rng)
        if after is not None:
            points, moved = after, True
    if not moved:
        return cut(case, start, size, padding_counts=padding_counts)
    return _read(case, start, size, points[:-1], padding_counts)


def _read(case: PreparedCase, start: Size, size: Size, points: "Tensor", padding_counts: bool) -> Patch:
    """The patch at `points` (axes, *size), which are in voxels from the centre of the window at `start`."""
    import torch
    from monai.transforms.spatial.array import Resample

    centre = np.array(start) + (np.array(size) - 1) / 2
    flat = points.reshape(len(size), -1)
    first = np.floor(centre + flat.min(dim=1).values.numpy()).astype(int)
    last = np.ceil(centre + flat.max(dim=1).values.numpy()).astype(int)
    source = cut(case, tuple(first.tolist()), tuple((last - first + 1).tolist()), padding_counts=padding_counts)
    shift = torch.from_numpy(centre - (first + last) / 2).to(points.dtype)
    around = points + shift.reshape(-1, *[1] * len(size))
    resample = Resample(padding_mode="border", dtype=np.float32)
    image = resample(torch.from_numpy(source.image), around, mode="bilinear")
    marks = np.stack([source.reference, source.valid]).astype(np.float32)
    reference, valid = resample(torch.from_numpy(marks), around, mode="nearest").numpy()
    return Patch(np.asarray(image), np.asarray(reference, dtype=np.uint8), np.asarray(valid) > 0)


def flip_patch(patch: Patch, axes: Size) -> Patch:
    """The patch flipped along axes, as views."""
    if not axes:
        return patch
    step = tuple(slice(None, None, -1 if axis in axes else 1) for axis in range(patch.reference.ndim))
    return Patch(patch.image[(slice(None), *step)], patch.reference[step], patch.valid[step])


def axes_of(axes: tuple[int, ...] | None, n: int, name: str) -> tuple[int, ...]:
    """The axes meant, of `n`. Raises UsageError for others, or for anything but a tuple of numbers."""
    if axes is None:
        return tuple(range(n))
    if not isinstance(axes, tuple) or any(not isinstance(axis, int) or not 0 <= axis < n for axis in axes):
        raise UsageError(f"{name}: axes are numbers from 0 to {n - 1}, such as (0, 1), got {axes!r}")
    return axes


def plane_of(axes: tuple[int, ...], n: int, name: str) -> tuple[int, int]:
    """Two different axes. Raises UsageError for anything else."""
    plane = axes_of(axes, n, name)
    if len(plane) != 2 or plane[0] == plane[1]:
        raise UsageError(f"{name}: axes are two different numbers, such as (0, 1), got {axes!r}")
    return plane[0], plane[1]


def check_low_high(low: float, high: float, name: str) -> None:
    """Raises UsageError unless low is at most high."""
    if low > high:
        raise UsageError(f"{name}: low must be at most high, got {low} and {high}")


def _through(points: "Tensor", matrix: npt.NDArray[np.float64]) -> "Tensor":
    """Points (axes + 1, *size) through a linear map (axes, axes)."""
    import torch
    from monai.transforms.spatial.array import AffineGrid

    whole = np.eye(len(points))
    whole[:-1, :-1] = matrix
    moved, _ = AffineGrid(affine=torch.from_numpy(whole), dtype=np.float32)(grid=points)
    return torch.as_tensor(moved)
