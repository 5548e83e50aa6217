"""The MNI152 tissue maps, cropped to the brain, and maps that are derived from them once per process."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.synth.fields import Float, Mask
from lesionloss.synth.interpolation import rows_at

_BRAIN = 0.2  # the template's brain is what is brighter than this, as nilearn has it
_MARGIN = 8  # voxels of 1 mm kept around the brain

# The lateral and third ventricles lie in these boxes of MNI space: |x|, y, z in mm; cisterns and fissures do not.
_VENTRICLES_MM = (
    ((0.0, 26.0), (-22.0, 14.0), (-6.0, 32.0)),  # third ventricle and bodies
    ((2.0, 26.0), (14.0, 36.0), (-4.0, 32.0)),  # frontal horns
    ((11.0, 40.0), (-62.0, -22.0), (-4.0, 32.0)),  # trigones and occipital horns
)
_DEEP_GREY_MM = ((0.0, 31.0), (-36.0, 26.0), (-16.0, 22.0))  # basal ganglia and thalami, |x|, y, z
_SULCUS_MM = 3.0  # a sulcus is fluid that stands out from what lies within this distance

TISSUES = ("gm", "wm", "csf", "ventricle_mm", "caps", "septum", "sulcus", "banks", "cortex", "deep", "hindbrain")
MOVES = ("depth_mm", "inward_x", "inward_y", "inward_z")


@dataclass(frozen=True, eq=False)
class Template:
    """Maps on the MNI152 grid of 1 mm, as tables (X·Y·Z, maps) float32.

    Attributes:
        shape: X, Y, Z.
        origin_mm: World coordinates of voxel (0, 0, 0).
        tissues: Fractions of grey and white matter and fluid; signed distance to the ventricles, negative inside; 1 at
            the tips of the ventricles' horns; 1 in the septum between them; sulci, 0 to 1, and their banks; nearness to
            cortex; share of the grey matter that is deep; cerebellum and brain stem.
        moves: Depth under the brain's surface (negative outside), and where a point goes, in mm per mm, when the
            ventricles widen.
    """

    shape: tuple[int, int, int]
    origin_mm: NDArray[np.float64]  # world coordinates of voxel (0, 0, 0)
    tissues: Float
    moves: Float

    def tissues_at(self, points_mm: Float) -> dict[str, Float]:
        """Interpolate the tissue maps linearly.

        Args:
            points_mm: World points (3, n).

        Returns:
            Every map by name, (n,).
        """
        return dict(zip(TISSUES, rows_at(self.tissues, self.shape, self._voxels(points_mm)), strict=True))

    def moves_at(self, points_mm: Float) -> Float:
        """Interpolate depth and inward field linearly.

        Args:
            points_mm: World points (3, n).

        Returns:
            Depth, and three components of the field: (4, n).
        """
        return rows_at(self.moves, self.shape, self._voxels(points_mm))

    def _voxels(self, points_mm: Float) -> Float:
        return points_mm - self.origin_mm.astype(np.float32)[:, None]


@cache
def template() -> Template:
    """Load the maps from nilearn's wheel; it takes some seconds, then they are kept.

    Raises:
        DataError: The maps are not there.
    """
    from scipy import ndimage

    head, affine = _map_of("t1")
    mask = head > _BRAIN
    bounds = [np.flatnonzero(mask.any(axis=others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
    window = tuple(slice(max(0, first - _MARGIN), last + 1 + _MARGIN) for first, last in bounds)
    origin = affine[:3, 3] + [part.start for part in window]
    gm, wm = (_map_of(tissue)[0][window].clip(0, 1) for tissue in ("gm", "wm"))
    brain = mask[window]
    csf = (brain - gm - wm).clip(0, 1)
    ventricles = _ventricles(csf, origin)
    distance = _signed_distance(ventricles)
    sulci = _sulci(csf * (distance > 2))
    tissues = {
        "gm": gm,
        "wm": wm,
        "csf": csf,
        "ventricle_mm": distance,
        "caps": _caps(ventricles, origin),
        "septum": _septum(ventricles, origin),
        "sulcus": sulci,
        "banks": ndimage.gaussian_filter(ndimage.maximum_filter(sulci, 5), 1.0),
        "cortex": ndimage.gaussian_filter(gm, 2.5),
        "deep": _deep(gm.shape, origin),
        "hindbrain": _hindbrain(gm.shape, origin),
    }
    moves = [-_signed_distance(brain), *_inward(distance)]
    return Template(
        shape=gm.shape,
        origin_mm=origin,
        tissues=np.stack([tissues[name].ravel() for name in TISSUES], axis=1).astype(np.float32),
        moves=np.stack([move.ravel() for move in moves], axis=1).astype(np.float32),
    )


def _map_of(name: str) -> tuple[Float, NDArray[np.float64]]:
    """Read a map of the MNI152 template, with a greatest value of 1, and its affine.

    From the file: importing nilearn's own loader takes longer than all the rest.
    """
    import nibabel

    found = find_spec("nilearn")
    folders = found.submodule_search_locations if found else None
    file = (
        Path(folders[0], "datasets", "data", f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        if folders
        else None
    )
    if file is None or not file.is_file():
        raise DataError(f"the MNI152 map {file or name} is missing; install nilearn 0.11 or newer")
    image: Any = nibabel.load(file)
    values = np.asarray(image.dataobj, dtype=np.float32)
    return values / values.max(), np.asarray(image.affine)


def _mm_axes(shape: tuple[int, ...], origin: NDArray[np.float64]) -> list[Float]:
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    return [(grid + start).astype(np.float32) for grid, start in zip(grids, origin, strict=True)]


def _ventricles(csf: Float, origin: NDArray[np.float64]) -> Mask:
    """Find the larger pieces of fluid in the ventricles' boxes."""
    x, y, z = _mm_axes(csf.shape, origin)
    boxes = np.zeros(csf.shape, bool)
    for box in _VENTRICLES_MM:
        (low, high), (back, front), (bottom, top) = box
        boxes |= (abs(x) >= low) & (abs(x) <= high) & (y >= back) & (y <= front) & (z >= bottom) & (z <= top)
    pieces, _ = label_components(boxes & (csf > 0.5), 6)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(np.isin(pieces, np.flatnonzero(sizes > 800)))


def _signed_distance(mask: Mask) -> Float:
    import edt

    outside, inside = edt.edt(~mask), edt.edt(mask)
    return np.asarray(outside - inside, dtype=np.float32)


def _caps(ventricles: Mask, origin: NDArray[np.float64]) -> Float:
    """Place blobs of 5 mm at the foremost and the hindmost point of each side's ventricle."""
    x, y, z = _mm_axes(ventricles.shape, origin)
    caps = np.zeros(ventricles.shape, np.float32)
    voxels = np.argwhere(ventricles)
    for side in (-1, 1):
        lateral = voxels[side * (voxels[:, 0] + origin[0]) > 4]
        for tip in (lateral[:, 1].argmax(), lateral[:, 1].argmin()):
            tx, ty, tz = lateral[tip] + origin
            caps = np.maximum(caps, np.exp(-((x - tx) ** 2 + (y - ty) ** 2 + (z - tz) ** 2) / (2 * 5.0**2)))
    return caps.astype(np.float32)


def _septum(ventricles: Mask, origin: NDArray[np.float64]) -> Float:
    """Find the thin wall between the lateral ventricles: the middle wherever there is a ventricle on both sides."""
    x, y, z = _mm_axes(ventricles.shape, origin)
    left, right = ((ventricles & (side * x >= 2) & (side * x <= 6)).any(axis=0, keepdims=True) for side in (-1, 1))
    return np.asarray(np.exp(-((x / 0.9) ** 2) / 2) * (left & right & (z > 4) & (y > -30)), dtype=np.float32)


def _sulci(csf: Float) -> Float:
    """Find fluid outside the ventricles that stands out from its neighbourhood.

    The result is a share of what stands out there most: an average brain's sulci are pale, and this finds their middles
    at any paleness.
    """
    from scipy import ndimage

    ridge = (ndimage.gaussian_filter(csf, 0.6) - ndimage.gaussian_filter(csf, _SULCUS_MM)).clip(0)
    strongest = ndimage.gaussian_filter(ndimage.maximum_filter(ridge, 9), 3.0)
    return np.asarray((ridge / (strongest + 0.02)).clip(0, 1), dtype=np.float32)


def _deep(shape: tuple[int, ...], origin: NDArray[np.float64]) -> Float:
    from scipy import ndimage

    x, y, z = _mm_axes(shape, origin)
    (low, high), (back, front), (bottom, top) = _DEEP_GREY_MM
    box = (abs(x) >= low) & (abs(x) <= high) & (y >= back) & (y <= front) & (z >= bottom) & (z <= top)
    return np.asarray(ndimage.gaussian_filter(box.astype(np.float32), 2.0))


def _hindbrain(shape: tuple[int, ...], origin: NDArray[np.float64]) -> Float:
    """Find cerebellum and brain stem: what lies under the tentorium, which falls off to the sides and the front."""
    from scipy import ndimage

    x, y, z = _mm_axes(shape, origin)
    tent = -10 - 0.25 * np.abs(x) - 0.35 * np.maximum(0, np.abs(y + 58) - 12)
    below = (z < tent) & (y < -12) & (np.abs(x) < 54)
    stem = (z < -6) & (y < -12) & (y > -44) & (np.abs(x) < 17)
    return np.asarray(ndimage.gaussian_filter((below | stem).astype(np.float32), 1.5))


def _inward(distance: Float) -> Float:
    """Make a smooth field towards the ventricles that fades with 15 mm."""
    from scipy import ndimage

    slope = np.array(np.gradient(ndimage.gaussian_filter(distance, 4.0)))
    return np.asarray(-slope * np.exp(-np.abs(distance) / 15), dtype=np.float32)
