"""From the signal of a head to an image: the scanner's grid, the measurement there, the interpolation to one grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.anatomy import Anatomy, Sampling
from lesionloss.synth.fields import Axes, Float, Mask, Spacing, smooth_field
from lesionloss.synth.interpolation import mask_at, resampled
from lesionloss.synth.kspace import magnitude
from lesionloss.synth.patient_plan import PLANES, Protocol, VisitPlan

_NORMAL_AXIS = dict(zip(PLANES, (2, 0, 1), strict=True))  # the axis across the slices, RAS
_FINEST_SLICE_MM = 1.2  # thicker slices are drawn as several
_AROUND_MM = 4.0  # what lies further outside the brain is not drawn


def sampling_of(spacing_mm: float | str, protocol: Protocol) -> Sampling:
    """Choose the voxels of the files and those that the head is drawn on; "scanner" takes the protocol's."""
    if not isinstance(spacing_mm, str):
        return Sampling((spacing_mm,) * 3, (1, 1, 1))
    axis = _NORMAL_AXIS[protocol.plane]
    count = int(np.ceil(protocol.slice_mm / max(_FINEST_SLICE_MM, protocol.in_plane_mm)))
    spacing, pool = [protocol.in_plane_mm] * 3, [1] * 3
    spacing[axis], pool[axis] = protocol.slice_mm / count, count
    return Sampling((spacing[0], spacing[1], spacing[2]), (pool[0], pool[1], pool[2]))


@dataclass(frozen=True)
class Rigid:
    """A rigid motion in world mm: x becomes matrix (3, 3) @ x + shift_mm (3,)."""

    matrix: NDArray[np.float64]
    shift_mm: NDArray[np.float64]


def no_error() -> Rigid:
    """Make the motion that moves nothing."""
    return Rigid(np.eye(3), np.zeros(3))


def registration_error(generator: np.random.Generator, anatomy: Anatomy, mean_mm: float) -> Rigid:
    """Draw a small rigid motion whose displacement over the brain is `mean_mm` on average.

    Args:
        generator: Draws the motion.
        anatomy: The person's tissue.
        mean_mm: Mean displacement.

    Returns:
        The motion.
    """
    voxels = np.argwhere(anatomy.brain[::4, ::4, ::4]) * 4 * np.array(anatomy.axes.spacing_mm)
    points = voxels + anatomy.axes.origin_mm
    middle = points.mean(axis=0)
    turn, shift = generator.normal(0, 1, 3), generator.normal(0, 1, 3)
    # radians and millimetres of one common size: a rotation moves the brain's outside by about 60 mm times its angle
    moves = np.cross(turn / 60, points - middle) + shift
    size = mean_mm / float(np.linalg.norm(moves, axis=1).mean())
    matrix = _rotation(size * turn / 60)
    return Rigid(matrix, middle - matrix @ middle + size * shift)


def acquire(
    generator: np.random.Generator,
    signal: Float,
    anatomy: Anatomy,
    files: Axes,
    brain: Mask,
    visit: VisitPlan,
    error: Rigid,
) -> NDArray[np.int16]:
    """Measure one visit.

    The image is measured on the scanner's grid, tilted against the head, and brought to the grid of the files by linear
    interpolation, displaced by `error`.

    Args:
        generator: Draws grid, bias field, noise and motion.
        signal: Signal of the head float32 (X, Y, Z), on the anatomy's grid.
        anatomy: The person's tissue.
        files: The grid of the files.
        brain: Brain mask on that grid.
        visit: How the visit is measured.
        error: The registration error.

    Returns:
        Image int16 on the grid of the files, 0 outside `brain`, in the scanner's units.
    """
    protocol = visit.protocol
    axis = _NORMAL_AXIS[protocol.plane]
    spacing = _native_spacing(protocol, anatomy.axes)
    profiled = _profiled(signal, protocol, axis, anatomy.axes)
    own = visit.own_grid and np.allclose(spacing, files.spacing_mm, rtol=0.02)
    native = _NativeGrid.of_files(files) if own else _NativeGrid.drawn(generator, anatomy, spacing, visit.tilt_deg)
    matrix, offset = native.into(anatomy.axes)
    near = mask_at(anatomy.surface_mm > -_AROUND_MM, matrix, offset, native.shape)
    image = resampled(profiled, matrix, offset, native.shape, near)
    image = _measured(generator, image, native, axis, visit)
    if not own:
        image = resampled(image, *native.back(files, error), files.shape, brain)
    top = min(protocol.window or np.inf, 30000 / visit.scale)
    values = np.float32(visit.scale) * image.clip(0, top) ** np.float32(protocol.gamma)
    return np.where(brain, np.rint(values).clip(0, 32000), 0).astype(np.int16)


def in_field_of_view(files: Axes, brain: Mask, visit: VisitPlan) -> Mask:
    """Keep the part of the brain that a visit's field of view holds; it may lack the top or the bottom.

    Args:
        files: The grid of the files.
        brain: Brain mask on that grid.
        visit: How the visit is measured.

    Returns:
        Bool on the same grid.
    """
    if visit.cut_mm == 0:
        return brain
    heights = files.z[brain.any(axis=(0, 1))]
    kept = files.z <= heights[-1] - visit.cut_mm if visit.cut_mm > 0 else files.z >= heights[0] - visit.cut_mm
    return np.asarray(brain & kept[None, None, :])


@dataclass(frozen=True, eq=False)
class _NativeGrid:
    """The scanner's voxels: world = matrix @ voxel + origin."""

    matrix: NDArray[np.float64]
    origin_mm: NDArray[np.float64]
    spacing_mm: Spacing
    shape: tuple[int, int, int]

    @staticmethod
    def of_files(files: Axes) -> "_NativeGrid":
        """Take the grid of the files as the scanner's."""
        return _NativeGrid(np.diag(files.spacing_mm), files.origin_mm, files.spacing_mm, files.shape)

    @staticmethod
    def drawn(generator: np.random.Generator, anatomy: Anatomy, spacing: Spacing, tilt_deg: float) -> "_NativeGrid":
        """Draw a grid that is rotated about a random axis and wide enough for the head."""
        from scipy import fft

        axis = generator.standard_normal(3)
        turn = _rotation(np.radians(tilt_deg) * axis / np.linalg.norm(axis))
        axes = anatomy.axes
        low, high = axes.origin_mm, np.array([places[-1] for places in axes])
        half = (high - low) / 2 + 70 * np.sin(np.radians(tilt_deg))
        counts = [fft.next_fast_len(int(np.ceil(2 * h / s)) + 1) for h, s in zip(half, spacing, strict=True)]
        matrix = turn @ np.diag(spacing)
        middle = (low + high) / 2 + generator.uniform(-0.5, 0.5, 3) * spacing
        origin = middle - matrix @ ((np.array(counts) - 1) / 2)
        return _NativeGrid(matrix, origin, spacing, (counts[0], counts[1], counts[2]))

    def into(self, axes: Axes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute matrix and offset from these voxels to those of `axes`."""
        scale = 1 / np.array(axes.spacing_mm)
        return scale[:, None] * self.matrix, scale * (self.origin_mm - axes.origin_mm)

    def back(self, axes: Axes, error: Rigid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute matrix and offset from the voxels of `axes`, moved by the error, to these."""
        inverse = np.linalg.inv(self.matrix)
        origin = error.matrix @ axes.origin_mm + error.shift_mm - self.origin_mm
        return inverse @ error.matrix @ np.diag(axes.spacing_mm), inverse @ origin


def _native_spacing(protocol: Protocol, axes: Axes) -> Spacing:
    """Take the protocol's voxels, no finer than those that the head is drawn on."""
    wanted = [protocol.in_plane_mm] * 3
    wanted[_NORMAL_AXIS[protocol.plane]] = protocol.slice_mm
    x, y, z = (max(a, b) for a, b in zip(wanted, axes.spacing_mm, strict=True))
    return x, y, z


def _profiled(signal: Float, protocol: Protocol, axis: int, axes: Axes) -> Float:
    """Average the signal across the slices with the slice's Gaussian profile, unless voxels are no finer."""
    from scipy import ndimage

    if protocol.slice_mm < 1.1 * axes.spacing_mm[axis]:
        return signal
    width = protocol.profile * protocol.slice_mm / 2.355
    blurred: Float = ndimage.gaussian_filter1d(signal, width / axes.spacing_mm[axis], axis=axis)
    return blurred


def _measured(generator: np.random.Generator, image: Float, native: _NativeGrid, axis: int, visit: VisitPlan) -> Float:
    """Apply bias field, then noise, ringing and motion within the slices."""
    protocol = visit.protocol
    steps = [np.linspace(-80, 80, n) for n in native.shape]
    bias = np.exp(np.float32(visit.bias) * smooth_field(generator, Axes(*steps), 70.0))
    slices = np.moveaxis(image * bias, axis, 2)
    in_plane = [step for other, step in enumerate(native.spacing_mm) if other != axis]
    motion = visit.motion_mm / in_plane[0]
    phase_axis = int(generator.integers(0, 2))
    found = magnitude(generator, slices, protocol.noise, protocol.kept, (motion, phase_axis))
    return np.ascontiguousarray(np.moveaxis(found, 2, axis))


def _rotation(radians: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make the rotation about a vector by its length (Rodrigues)."""
    angle = float(np.linalg.norm(radians))
    if angle == 0:
        return np.eye(3)
    x, y, z = radians / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
