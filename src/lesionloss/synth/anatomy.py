"""One person's head: the template, moved by an affine map and a smooth invertible deformation, as tissue fractions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.fields import Axes, Float, box_axes, smooth_field
from lesionloss.synth.template import Template, template

_CENTRE_MM = np.array([0.0, -17.0, 5.0])  # the middle of the brain, fixed point of the affine part
_EDGE_MM = 6.0  # room around the brain mask
SMALLEST_JACOBIAN = 0.25  # no part of the brain may be squeezed to less than a quarter of its volume

# Sharpening of the averaged maps: exponents and log-odds. An average brain has washed-out sulci; a person has not.
_SHARPNESS = 1.7
_FLUID_ODDS = 0.9


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Tissue fractions on the patient's grid, cropped to the brain; all (X, Y, Z) float32 unless said."""

    axes: Axes
    brain: NDArray[np.bool_]
    gm: Float
    wm: Float
    csf: Float
    ventricle_mm: Float  # distance to the ventricles; large outside the brain
    caps: Float
    infratentorial: NDArray[np.bool_]
    smallest_jacobian: float
    ventricle_widening_mm: float


@dataclass(frozen=True, eq=False)
class _Warp:
    points_mm: Float  # (3, X, Y, Z): where each voxel of the patient lies in the template
    smallest_jacobian: float
    widening_mm: float


def draw_anatomy(generator: np.random.Generator, spacing_mm: float) -> Anatomy:
    """A new person on a grid of `spacing_mm`, cropped to the brain with a margin of 6 mm.

    Backward mapping: the tissue at a patient's point is the template's at A (x + u(x)) + s v, with A affine, u a sum
    of cubic B-splines and v the field that widens the ventricles.
    """
    atlas = template()
    axes = box_axes(spacing_mm)
    warp = _draw_warp(generator, axes, atlas)
    brain = atlas.sample(atlas.brain, warp.points_mm) > 0.5
    window = _around(brain, round(_EDGE_MM / spacing_mm))
    odds = [smooth_field(generator, axes, 9.0)[window] for _ in range(2)]
    brain, points = brain[window], warp.points_mm[:, *window]
    inside = np.ascontiguousarray(points[:, brain])
    gm, wm, csf = _tissues(atlas, inside, np.stack([field[brain] for field in odds]))

    def spread(values: Float, outside: float = 0.0) -> Float:
        volume = np.full(brain.shape, outside, np.float32)
        volume[brain] = values
        return volume

    below = np.zeros_like(brain)
    below[brain] = (inside[2] < -20) & (inside[1] < -14) & (np.abs(inside[0]) < 45)
    return Anatomy(
        axes=axes.cropped(window),
        brain=brain,
        gm=spread(gm),
        wm=spread(wm),
        csf=spread(csf),
        ventricle_mm=spread(atlas.sample(atlas.ventricle_mm, inside), 100.0),
        caps=spread(atlas.sample(atlas.caps, inside)),
        infratentorial=below,
        smallest_jacobian=warp.smallest_jacobian,
        ventricle_widening_mm=warp.widening_mm,
    )


def smallest_jacobian(points_mm: Float, axes: Axes) -> float:
    """Least determinant of the derivative of a mapping (3, X, Y, Z) in mm; positive where it does not fold."""
    step = max(1, round(2 / axes.spacing_mm))
    coarse = points_mm[:, ::step, ::step, ::step]
    rows = [np.gradient(component, axes.spacing_mm * step) for component in coarse]
    (a, b, c), (d, e, f), (g, h, i) = rows
    return float((a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)).min())


def _draw_warp(generator: np.random.Generator, axes: Axes, atlas: Template) -> _Warp:
    linear = _draw_affine(generator)
    coarse = [smooth_field(generator, axes, 42.0) for _ in range(3)]
    fine = [smooth_field(generator, axes, 19.0) for _ in range(3)]
    offsets = np.stack([2.6 * a + 1.1 * b for a, b in zip(coarse, fine, strict=True)])
    widening_mm = float(generator.uniform(-0.5, 3.0))
    amplitude = 1.0
    while True:
        points = _mapped(axes, linear, np.float32(amplitude) * offsets)
        inward = np.stack([atlas.sample(part, points) for part in atlas.inward])
        points += np.float32(amplitude * widening_mm) * inward
        least = smallest_jacobian(points, axes)
        if least > SMALLEST_JACOBIAN:
            return _Warp(points, least, amplitude * widening_mm)
        amplitude *= 0.75


def _draw_affine(generator: np.random.Generator) -> NDArray[np.float64]:
    """Small rotations, scales within 6 % and a little shear: (3, 3)."""
    matrix = np.diag(generator.uniform(0.95, 1.06, 3))
    matrix[np.triu_indices(3, 1)] = generator.normal(0, 0.012, 3)
    for axis, degrees in enumerate(generator.normal(0, 2.5, 3).clip(-6, 6)):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        first, second = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = cos
        turn[first, second], turn[second, first] = -sin, sin
        matrix = matrix @ turn
    return matrix


def _mapped(axes: Axes, linear: NDArray[np.float64], offsets: Float) -> Float:
    """A (x + u(x) - centre) + centre for every voxel: (3, X, Y, Z)."""
    grids = np.meshgrid(
        *(axis - middle for axis, middle in zip(axes, _CENTRE_MM, strict=True)), indexing="ij", sparse=True
    )
    moved = [(grid + offset).astype(np.float32) for grid, offset in zip(grids, offsets, strict=True)]
    rows = [
        sum((np.float32(weight) * part for weight, part in zip(row, moved, strict=True)), np.float32(middle))
        for row, middle in zip(linear, _CENTRE_MM, strict=True)
    ]
    return np.stack(rows)


def _around(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    bounds = [np.flatnonzero(mask.any(axis=others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
    first, second, third = (slice(max(0, int(a) - margin), int(b) + 1 + margin) for a, b in bounds)
    return first, second, third


def _tissues(atlas: Template, points_mm: Float, odds: Float) -> tuple[Float, Float, Float]:
    """Sharpened fractions of grey matter, white matter and fluid at points (3, n); `odds` (2, n) tells people apart."""
    raw = np.stack([atlas.sample(volume, points_mm) for volume in (atlas.gm, atlas.wm, atlas.csf)])
    logits = _SHARPNESS * np.log(raw + np.float32(0.01))
    logits[0] += np.float32(0.5) * odds[0]
    logits[2] += np.float32(_FLUID_ODDS) + np.float32(0.5) * odds[1]
    weights = np.exp(logits - logits.max(axis=0))
    gm, wm, csf = weights / weights.sum(axis=0)
    return gm, wm, csf
