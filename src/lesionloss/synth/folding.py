"""A person's own cortical folds: an average brain has only the sulci that everybody has."""

from dataclasses import dataclass

import numpy as np

from lesionloss.synth.fields import Axes, Float, Mask, regridded, smooth_field, upsampled
from lesionloss.synth.interpolation import values_at

_KNOT_MM = 6.5  # of the field whose zeros are sulci; they lie about 9 mm apart
_EVEN_MM = 4.0  # sd of the smoothing of the surface along which folds go down
_DEEPEST_MM = 32.0  # where no fold reaches any more
_COARSE_MM = 2.0  # voxels on which the distance to them is computed
_CORTEX_MM = 2.5
_SULCUS_MM = (10.0, 28.0)  # how deep sulci reach under the surface of the brain
_RIBBON = 2.0  # log-odds that grey gets and white matter loses beside a sulcus, the negative of it far from one
_OWN = 0.9  # how much of the average's own folds a person's replace
_FLUID = 0.1  # what may be fluid where there is cortex


@dataclass(frozen=True, eq=False)
class Folds:
    """The effect of cortical folds on the brain voxels.

    Attributes:
        grey: Log-odds that folds add to grey and take from white matter (n,).
        sulcus: Nearness to the middle of a sulcus, 0 to 1 (n,).
        blurred: Fractions of grey and white matter and fluid without the template's own folds (3, n).
    """

    grey: Float
    sulcus: Float
    blurred: Float


def draw_folds(
    generator: np.random.Generator, axes: Axes, brain: Mask, surface_mm: Float, maps: dict[str, Float], width_mm: float
) -> Folds:
    """Draw the folds of a new person.

    Sulci are the sheets where a smooth field is 0, as deep as another field lets them be; grey matter lines them. They
    lie only where there is cortex: near the surface, and neither in deep grey matter nor in cerebellum or brain stem.

    Args:
        generator: Draws the fields.
        axes: The grid.
        brain: Brain mask (X, Y, Z).
        surface_mm: Depth under the brain's surface (X, Y, Z).
        maps: Maps of the template (n,) at the brain voxels, by name.
        width_mm: Width of the sulci.

    Returns:
        The folds.
    """
    reach = smooth_field(generator, axes, 16.0)[brain]
    sheet_mm = np.abs(_signed_distance(generator, axes, surface_mm))[brain]
    depth_mm = surface_mm[brain]
    low, high = _SULCUS_MM
    limit_mm = (np.float32((low + high) / 2) + np.float32((high - low) / 3) * reach).clip(low, high + 4)
    zone = (maps["cortex"] * 5 - 0.25).clip(0, 1) * ((maps["ventricle_mm"] - 4) / 6).clip(0, 1) * (1 - maps["deep"])
    zone *= ((_DEEPEST_MM - depth_mm) / 8).clip(0, 1) * (1 - maps["hindbrain"])
    open_sulcus = ((limit_mm - depth_mm) / 2).clip(0, 1)
    lined = np.maximum.reduce(
        [
            (2.5 * maps["banks"] - 0.9).clip(0, 1),
            ((_CORTEX_MM - sheet_mm) / 1.2 + 0.5).clip(0, 1) * ((limit_mm + _CORTEX_MM - depth_mm) / 2).clip(0, 1),
            ((_CORTEX_MM + 0.8 - depth_mm) / 1.2 + 0.5).clip(0, 1),
        ]
    )
    fluid = np.exp(-((sheet_mm / np.float32(width_mm)) ** 2)) * open_sulcus
    grey = maps["cortex"] * (1 - maps["csf"])
    flat = np.stack([grey, 1 - maps["csf"] - grey, maps["csf"] + np.float32(_FLUID)])
    raw = np.stack([maps["gm"], maps["wm"], maps["csf"]])
    return Folds(
        zone * np.float32(_RIBBON) * (2 * lined - 1), zone * fluid, raw + np.float32(_OWN) * zone * (flat - raw)
    )


def _signed_distance(generator: np.random.Generator, axes: Axes, surface_mm: Float) -> Float:
    """Estimate the distance in mm to the zeros of a smooth field as its value over its slope; right near the zeros.

    The field is drawn on the brain's surface and carried inwards, so that sulci go down into the brain, not along it.
    """
    from scipy import ndimage

    coarse = regridded(axes, _COARSE_MM)
    field = smooth_field(generator, coarse, _KNOT_MM)
    depth = ndimage.gaussian_filter(
        upsampled(surface_mm, axes, coarse), [_EVEN_MM / edge for edge in coarse.spacing_mm]
    )
    inwards, slope = _gradient(depth, coarse)
    near = (depth > 0) & (depth < _DEEPEST_MM)
    distance = depth[near] / (slope[near] + np.float32(1e-3))
    outside = [
        places - distance * part[near] / np.float32(edge)
        for places, part, edge in zip(np.nonzero(near), inwards, coarse.spacing_mm, strict=True)
    ]
    carried = field.copy()
    carried[near] = values_at(field, np.stack(outside).astype(np.float32))
    _, slope = _gradient(carried, coarse)
    return upsampled(carried / (slope + np.float32(0.01)), coarse, axes)


def _gradient(values: Float, axes: Axes) -> tuple[list[Float], Float]:
    """Compute the parts of the gradient per mm along the axes, and its length."""
    parts = [np.asarray(np.gradient(values, edge, axis=axis)) for axis, edge in enumerate(axes.spacing_mm)]
    return parts, np.sqrt(sum((part**2 for part in parts[1:]), parts[0] ** 2))
