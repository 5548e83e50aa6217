"""The MNI152 tissue maps, cut to the brain, with what is derived from them once per process."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lesionloss.synth.fields import Float

_MARGIN = 8  # voxels of 1 mm kept around the brain

# The lateral and third ventricles lie in these boxes of MNI space: |x|, y, z in mm; cisterns and fissures do not.
_VENTRICLES_MM = (
    ((0.0, 26.0), (-22.0, 14.0), (-6.0, 32.0)),  # third ventricle and bodies
    ((2.0, 26.0), (14.0, 36.0), (-4.0, 32.0)),  # frontal horns
    ((11.0, 40.0), (-62.0, -22.0), (-4.0, 32.0)),  # trigones and occipital horns
)


@dataclass(frozen=True, eq=False)
class Template:
    """Maps on the MNI152 grid of 1 mm, all (X, Y, Z) float32."""

    gm: Float
    wm: Float
    csf: Float
    brain: Float
    ventricle_mm: Float  # signed distance to the ventricles, negative inside
    caps: Float  # 1 at the tips of the ventricles' horns, falling to 0
    inward: Float  # (3, X, Y, Z): where a point goes, in mm per mm, when the ventricles widen
    origin_mm: NDArray[np.float64]  # world coordinates of voxel (0, 0, 0)

    def sample(self, volume: Float, points_mm: Float) -> Float:
        """Linear interpolation at world points (3, ...); 0 outside."""
        from scipy import ndimage

        shift = self.origin_mm.astype(np.float32).reshape((3,) + (1,) * (points_mm.ndim - 1))
        values: Float = ndimage.map_coordinates(volume, points_mm - shift, order=1, mode="nearest", output=np.float32)
        return values


@cache
def template() -> Template:
    """Load the maps from nilearn's wheel; about a second, then kept."""
    from nilearn import datasets

    whole = datasets.load_mni152_brain_mask(resolution=1)
    mask = np.asarray(whole.dataobj) > 0
    bounds = [np.flatnonzero(mask.any(axis=others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
    window = tuple(slice(max(0, first - _MARGIN), last + 1 + _MARGIN) for first, last in bounds)
    origin = np.asarray(whole.affine)[:3, 3] + [part.start for part in window]
    gm, wm = (
        np.asarray(load(resolution=1).dataobj, dtype=np.float32)[window].clip(0, 1)
        for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    )
    brain = mask[window].astype(np.float32)
    csf = (brain - gm - wm).clip(0, 1)
    ventricles = _ventricles(csf, origin)
    distance = _signed_distance(ventricles)
    return Template(gm, wm, csf, brain, distance, _caps(ventricles, origin), _inward(distance), origin)


def _mm_axes(shape: tuple[int, ...], origin: NDArray[np.float64]) -> list[Float]:
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    return [(grid + start).astype(np.float32) for grid, start in zip(grids, origin, strict=True)]


def _ventricles(csf: Float, origin: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The larger pieces of fluid in the ventricles' boxes."""
    from scipy import ndimage

    x, y, z = _mm_axes(csf.shape, origin)
    boxes = np.zeros(csf.shape, bool)
    for box in _VENTRICLES_MM:
        (low, high), (back, front), (bottom, top) = box
        boxes |= (abs(x) >= low) & (abs(x) <= high) & (y >= back) & (y <= front) & (z >= bottom) & (z <= top)
    pieces, _ = ndimage.label(boxes & (csf > 0.5))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(np.isin(pieces, np.flatnonzero(sizes > 800)))


def _signed_distance(mask: NDArray[np.bool_]) -> Float:
    from scipy import ndimage

    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    return np.asarray(outside - inside, dtype=np.float32)


def _caps(ventricles: NDArray[np.bool_], origin: NDArray[np.float64]) -> Float:
    """Blobs of 5 mm at the foremost and the hindmost point of each side's ventricle."""
    x, y, z = _mm_axes(ventricles.shape, origin)
    caps = np.zeros(ventricles.shape, np.float32)
    voxels = np.argwhere(ventricles)
    for side in (-1, 1):
        lateral = voxels[side * (voxels[:, 0] + origin[0]) > 4]
        for tip in (lateral[:, 1].argmax(), lateral[:, 1].argmin()):
            tx, ty, tz = lateral[tip] + origin
            caps = np.maximum(caps, np.exp(-((x - tx) ** 2 + (y - ty) ** 2 + (z - tz) ** 2) / (2 * 5.0**2)))
    return caps.astype(np.float32)


def _inward(distance: Float) -> Float:
    """A smooth field towards the ventricles that fades with 15 mm."""
    from scipy import ndimage

    slope = np.array(np.gradient(ndimage.gaussian_filter(distance, 4.0)))
    return np.asarray(-slope * np.exp(-np.abs(distance) / 15), dtype=np.float32)
