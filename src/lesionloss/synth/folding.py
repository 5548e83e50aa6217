"""A person's own cortical folds: an average brain keeps only the sulci that everybody has."""

from dataclasses import dataclass

import numpy as np

from lesionloss.synth.fields import Axes, Float, Mask, coarsened, smooth_field, upsampled

_KNOT_MM = 7.0  # of the field whose zeros are sulci; they lie about 11 mm apart
_COARSE_MM = 2.0  # voxels on which the distance to them is computed
_CORTEX_MM = 2.8
_SULCUS_MM = (5.0, 22.0)  # how deep sulci reach under the surface of the brain
_RIBBON = 2.6  # log-odds of grey against white matter beside a sulcus, the negative of it far from one
_OWN = 0.65  # how much of the average's own folds a person's replace
_FLUID = 0.1  # what may be fluid where there is cortex


@dataclass(frozen=True, eq=False)
class Folds:
    """Log-odds that folds add to grey matter, and nearness to the middle of a sulcus, 0 to 1; both (n,).

    `blurred`: (3, n), fractions of grey and white matter and fluid from which the average's own folds are taken out.
    """

    grey: Float
    sulcus: Float
    blurred: Float


def folded(
    generator: np.random.Generator, axes: Axes, brain: Mask, depth_mm: Float, maps: dict[str, Float], width_mm: float
) -> Folds:
    """The folds of a new person over the brain voxels, whose maps in the template are `maps`.

    Sulci are the sheets where a smooth field is 0, as deep as another one lets them; grey matter lines them. Only where
    there is cortex: near the surface, and neither deep grey matter nor cerebellum nor brain stem.
    """
    reach = smooth_field(generator, axes, 16.0)[brain]
    sheet_mm = np.abs(_signed_distance(generator, axes))[brain]
    low, high = _SULCUS_MM
    limit_mm = (np.float32((low + high) / 2) + np.float32((high - low) / 3) * reach).clip(low, high + 4)
    zone = (maps["cortex"] * 5 - 0.25).clip(0, 1) * ((maps["ventricle_mm"] - 4) / 6).clip(0, 1) * (1 - maps["deep"])
    zone *= ((24 - depth_mm) / 8).clip(0, 1) * (1 - maps["hindbrain"])
    open_sulcus = ((limit_mm - depth_mm) / 2).clip(0, 1)
    lined = np.maximum.reduce(
        [
            (2.5 * maps["banks"] - 0.2).clip(0, 1),
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


def _signed_distance(generator: np.random.Generator, axes: Axes) -> Float:
    """About the distance in mm to the zeros of a smooth field, right near them: its value over its slope."""
    coarse = coarsened(axes, _COARSE_MM)
    field = smooth_field(generator, coarse, _KNOT_MM)
    slope2 = np.sum([part**2 for part in np.gradient(field, *coarse.spacing_mm)], axis=0)
    return upsampled(np.asarray(field / np.sqrt(slope2 + 1e-4), dtype=np.float32), coarse, axes)
