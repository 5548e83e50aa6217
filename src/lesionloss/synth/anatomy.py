"""One person's head as tissue fractions: the template after an affine map and a smooth invertible deformation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.fields import BOX_MM, Axes, Float, Mask, Spacing, axes_within, box_axes, smooth_field, upsampled
from lesionloss.synth.folding import Folds, draw_folds
from lesionloss.synth.settings import AnatomySettings
from lesionloss.synth.template import Template, template

_CENTRE_MM = np.array([0.0, -17.0, 5.0])  # the middle of the brain, fixed point of the affine part
_EDGE_MM = 6.0  # room around the brain mask
_OPEN = 3.5  # log-odds of fluid in the middle of a sulcus of the person's own, besides that of all sulci
_WARP_MM = 2.5  # voxels on which the map into the template is computed; it is smooth
SMALLEST_JACOBIAN = 0.2  # no part of the brain may be squeezed to less than a fifth of its volume


@dataclass(frozen=True)
class Sampling:
    """The voxels that a patient is drawn on, and how many of them along each axis make one voxel of the files."""

    spacing_mm: Spacing
    pool: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The tissue of a person on a grid that is cropped to the brain.

    Attributes:
        axes: The grid.
        brain: Brain mask (X, Y, Z).
        surface_mm: Depth under the brain's surface (X, Y, Z), negative outside.
        maps: Maps float32 (n,) over the n brain voxels: gm, wm, csf (fractions), ventricle_mm, caps, septum, sulcus,
            cortex, deep and others; see `Template`.
        points_mm: Where each brain voxel lies in the template (3, n).
        smallest_jacobian: Smallest determinant of the derivative of the deformation.
        ventricle_widening_mm: By how much the ventricles are wider than the template's.
    """

    axes: Axes
    brain: Mask  # (X, Y, Z)
    surface_mm: Float  # (X, Y, Z): depth under the brain's surface, negative outside
    maps: dict[str, Float]  # gm, wm, csf (fractions), ventricle_mm, caps, septum, sulcus, cortex, deep
    points_mm: Float  # (3, n): where each brain voxel lies in the template
    smallest_jacobian: float
    ventricle_widening_mm: float

    def spread(self, values: Float, outside: float = 0.0) -> Float:
        """Put a map back into space.

        Args:
            values: Values (n,) of the brain voxels.
            outside: The value of all other voxels.

        Returns:
            Values float32 (X, Y, Z).
        """
        volume = np.full(self.brain.shape, outside, np.float32)
        volume[self.brain] = values
        return volume

    def infratentorial(self) -> Mask:
        """Mark the brain voxels of cerebellum and brain stem: (n,)."""
        x, y, z = self.points_mm
        return np.asarray((z < -20) & (y < -14) & (np.abs(x) < 45))


@dataclass(frozen=True, eq=False)
class _Warp:
    axes: Axes
    points_mm: Float  # (3, X, Y, Z): where each voxel of the patient lies in the template
    depth_mm: Float
    smallest_jacobian: float
    widening_mm: float


def draw_anatomy(generator: np.random.Generator, sampling: Sampling, settings: AnatomySettings) -> Anatomy:
    """Draw a new person on a grid of the given voxels, cropped to the brain with a margin of 6 mm.

    Backward mapping: the tissue at a patient's point is the template's at A (x + u(x)) + s v, with A affine, u a sum of
    cubic B-splines and v the field that widens the ventricles.

    Args:
        generator: Draws the person.
        sampling: The voxels.
        settings: The ranges.

    Returns:
        The anatomy.
    """
    atlas = template()
    warp = _draw_warp(generator, atlas, settings)
    sulcus, sharpness = generator.uniform(*settings.sulcus), generator.uniform(*settings.sharpness)
    axes = axes_within(_bounds(warp), sampling.spacing_mm, sampling.pool)
    surface = upsampled(warp.depth_mm, warp.axes, axes)
    brain = surface > 0
    points = np.stack([upsampled(part, warp.axes, axes)[brain] for part in warp.points_mm])
    maps = atlas.tissues_at(points)
    odds = [smooth_field(generator, axes, 9.0)[brain] for _ in range(3)]
    width_mm = 0.3 + 0.15 * float(sulcus)
    folds = draw_folds(generator, axes, brain, surface, maps, width_mm)
    maps |= _sharpened(maps, np.stack(odds), folds, float(sulcus), float(sharpness))
    return Anatomy(axes, brain, surface, maps, points, warp.smallest_jacobian, warp.widening_mm)


def smallest_jacobian(points_mm: Float, axes: Axes) -> float:
    """Find the smallest determinant of the derivative of a mapping; positive where the mapping does not fold.

    Args:
        points_mm: Mapped points (3, X, Y, Z).
        axes: The grid of the points.

    Returns:
        The determinant.
    """
    rows = [np.gradient(component, *axes.spacing_mm) for component in points_mm]
    (a, b, c), (d, e, f), (g, h, i) = rows
    return float((a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)).min())


def _draw_warp(generator: np.random.Generator, atlas: Template, settings: AnatomySettings) -> _Warp:
    axes = box_axes(_WARP_MM)
    linear = _draw_affine(generator, settings)
    sd_mm = float(generator.uniform(*settings.deformation_mm))
    offsets = np.float32(0.9 * sd_mm) * np.stack([smooth_field(generator, axes, 42.0) for _ in range(3)])
    offsets += np.float32(0.43 * sd_mm) * np.stack([smooth_field(generator, axes, 19.0) for _ in range(3)])
    widening_mm = float(generator.uniform(*settings.ventricle_mm))
    amplitude = 1.0
    while True:
        points = _mapped(axes, linear, np.float32(amplitude) * offsets)
        _, *inward = atlas.moves_at(points.reshape(3, -1))
        points += np.float32(amplitude * widening_mm) * np.stack(inward).reshape(points.shape)
        least = smallest_jacobian(points, axes)
        if least > SMALLEST_JACOBIAN:
            depth = atlas.moves_at(points.reshape(3, -1))[0].reshape(axes.shape)
            return _Warp(axes, points, depth, least, amplitude * widening_mm)
        amplitude *= 0.8


def _draw_affine(generator: np.random.Generator, settings: AnatomySettings) -> NDArray[np.float64]:
    """Rotations, scales and a little shear, from the patient to the template: (3, 3)."""
    matrix = np.diag(1 / generator.uniform(*settings.scale, 3))
    matrix[np.triu_indices(3, 1)] = generator.normal(0, 0.012, 3)
    for axis, degrees in enumerate(generator.uniform(*settings.rotation_deg, 3)):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        first, second = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = cos
        turn[first, second], turn[second, first] = -sin, sin
        matrix = matrix @ turn
    return matrix


def _mapped(axes: Axes, linear: NDArray[np.float64], offsets: Float) -> Float:
    """Compute A (x + u(x) - centre) + centre for every voxel: (3, X, Y, Z)."""
    grids = np.meshgrid(
        *(axis - middle for axis, middle in zip(axes, _CENTRE_MM, strict=True)), indexing="ij", sparse=True
    )
    moved = [(grid + offset).astype(np.float32) for grid, offset in zip(grids, offsets, strict=True)]
    rows = [
        sum((np.float32(weight) * part for weight, part in zip(row, moved, strict=True)), np.float32(middle))
        for row, middle in zip(linear, _CENTRE_MM, strict=True)
    ]
    return np.stack(rows)


def _bounds(warp: _Warp) -> tuple[tuple[float, float], ...]:
    """Find the box around the brain with its margin, in mm, within the box of all grids."""
    inside = warp.depth_mm > -_WARP_MM
    bounds = []
    for axis, (low, high), others in zip(warp.axes, BOX_MM, ((1, 2), (0, 2), (0, 1)), strict=True):
        first, last = axis[np.flatnonzero(inside.any(axis=others))[[0, -1]]]
        bounds.append((max(low, float(first) - _EDGE_MM), min(high, float(last) + _EDGE_MM)))
    return tuple(bounds)


def _sharpened(maps: dict[str, Float], odds: Float, folds: Folds, sulcus: float, sharpness: float) -> dict[str, Float]:
    """Sharpen the fractions of grey matter, white matter and fluid: an average brain has washed-out sulci.

    Log-odds: those of the average times `sharpness`, plus `sulcus` in the middle of sulci; `odds` (3, n) differ between
    people.
    """
    logits = np.float32(sharpness) * np.log(folds.blurred + np.float32(0.01))
    logits[0] += np.float32(0.5) * odds[0] + folds.grey
    logits[1] -= folds.grey
    logits[2] += np.float32(sulcus + _OPEN) * folds.sulcus
    logits[2] += np.float32(sulcus) * maps["sulcus"] * (1 + np.float32(0.35) * odds[1]).clip(0.1)
    logits[2] += np.float32(0.3) + np.float32(0.3) * odds[2]
    weights = np.exp(logits - logits.max(axis=0))
    gm, wm, csf = weights / weights.sum(axis=0)
    return {"gm": gm, "wm": wm, "csf": csf}
