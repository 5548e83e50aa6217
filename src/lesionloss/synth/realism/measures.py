"""The measurements of one case: values per voxel, per place or per lesion, always in z-scores and millimetres.

A sample of the voxels is drawn, so that a large head counts no more than a small one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import label_components
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image, Mask
from lesionloss.synth.realism.compared_cases import CaseMasks

Values = NDArray[np.float64]
DRAWN = 4000  # voxels of a case for each quantity that is measured in voxels
_COARSE = 1.5  # an axis whose spacing is this many times the finest is through-plane
_SMOOTH_MM = 1.0  # sd in plane of the smoothing that separates texture from noise
_MARGIN_MM = 6.0  # depth below the mask's border from which noise is measured
_TISSUES = ("fluid", "darker tissue", "brighter tissue")


@dataclass(frozen=True)
class Quantity:
    """A measured quantity and its unit."""

    name: str
    unit: str


INTENSITY = tuple(Quantity(f"intensity of {tissue}", "z") for tissue in _TISSUES)
NOISE = Quantity("noise of a visit", "z")
EDGE = Quantity("edge at fluid, steepness", "z/mm")
DIFFERENCE = Quantity("difference outside lesions", "z")
SPREAD = Quantity("spread of the difference outside lesions, per patient", "z")
GRAIN = Quantity("correlation of the difference's neighbours, per patient", "")
VOLUME = Quantity("volume of a lesion", "mm³")
COUNT = Quantity("lesions of a patient", "")
LOAD = Quantity("lesion share of the brain, per patient", "‰")
RISE = Quantity("difference in a lesion", "z")
DEPTH = Quantity("lesion's depth below the brain's surface", "mm")
PLACES = tuple(
    Quantity(f"lesion's place, {axis}", "share") for axis in ("from the midline", "back to front", "upwards")
)
QUANTITIES = (
    *(*INTENSITY, NOISE, EDGE, DIFFERENCE, SPREAD, GRAIN),
    *(VOLUME, COUNT, LOAD, RISE, DEPTH, *PLACES),
)
Measured = Mapping[Quantity, Values]


def measure_images(case: PreparedCase) -> Measured:
    """Measure the quantities that need the visits of a prepared pair (channels baseline, follow-up, difference)."""
    visits, difference = case.image[:2], case.image[2]
    healthy = case.brain & ~case.lesion
    tissues = tissue_classes(visits.mean(axis=0), case.brain, _sigma(case))
    found: dict[Quantity, Values] = {}
    for number, quantity in enumerate(INTENSITY):
        mask = tissues == number + 1
        found[quantity] = np.concatenate([_drawn(visit, mask & healthy, case.name) for visit in visits])
    deep = _deep(case) & healthy
    found[NOISE] = np.concatenate([_noise(visit, deep, case) for visit in visits])
    border = _border(tissues == 1, (tissues > 1) & case.brain) & _deep(case)
    found[EDGE] = np.concatenate([_drawn(_slope(visit, case), border, case.name) for visit in visits])
    found[DIFFERENCE] = _drawn(difference, healthy, case.name)
    found[SPREAD] = np.array([difference[healthy].std()], dtype=np.float64)
    found[GRAIN] = np.array([_grain(difference, deep, case)])
    found[RISE] = _rises(difference, case.lesion)
    return found


def measure_masks(masks: CaseMasks) -> Measured:
    """Measure sizes, number and places of lesions (26-connected), which need no image."""
    components, _ = label_components(masks.lesion, 26)
    voxels = np.bincount(components.ravel())[1:]
    edge = float(np.prod(masks.grid.spacing_mm))
    places = _places(masks, components, len(voxels))
    found: dict[Quantity, Values] = {
        VOLUME: voxels.astype(np.float64) * edge,
        COUNT: np.array([len(voxels)], dtype=np.float64),
        LOAD: np.array([1000 * masks.lesion.sum() / masks.brain.sum()], dtype=np.float64),
        DEPTH: _depths(masks, components, len(voxels)),
    }
    return found | {quantity: places[:, axis] for axis, quantity in enumerate(PLACES)}


def tissue_classes(image: Image, brain: Mask, sigma: tuple[float, ...]) -> NDArray[np.uint8]:
    """Classify the smoothed intensities of the brain by three means.

    On FLAIR the two tissues are mostly white and grey matter, but lesions and regions mix; the names promise no more.

    Args:
        image: Intensities (X, Y, Z).
        brain: Brain mask (X, Y, Z).
        sigma: Standard deviation of the smoothing along each axis, in voxels.

    Returns:
        Uint8 (X, Y, Z): 0 outside the brain, 1 fluid, 2 darker tissue, 3 brighter tissue.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, sigma)
    values = smooth[brain].astype(np.float64)
    centres = np.quantile(values, (0.03, 0.4, 0.8))
    for _ in range(40):
        limits = (centres[:-1] + centres[1:]) / 2
        number = np.searchsorted(limits, values)
        sums, counts = np.bincount(number, values, 3), np.bincount(number, minlength=3)
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        if np.allclose(moved, centres, atol=1e-4):
            break
        centres = moved
    classes = np.zeros(brain.shape, np.uint8)
    classes[brain] = 1 + np.searchsorted((centres[:-1] + centres[1:]) / 2, values)
    return classes


def _in_plane(case: PreparedCase) -> NDArray[np.bool_]:
    spacing = np.asarray(case.spacing_mm)
    return np.asarray(spacing < _COARSE * spacing.min())


def _sigma(case: PreparedCase) -> tuple[float, ...]:
    """Compute the smoothing in plane, in voxels."""
    return tuple(np.where(_in_plane(case), _SMOOTH_MM / np.asarray(case.spacing_mm), 0.0).tolist())


def _drawn(image: Image, mask: Mask, name: str) -> Values:
    """Draw up to `DRAWN` values inside a mask without replacement, by the case's name."""
    values = image[mask]
    if len(values) > DRAWN:
        values = numpy_generator("realism", name).choice(values, DRAWN, replace=False)
    return np.asarray(values, dtype=np.float64)


def _deep(case: PreparedCase) -> Mask:
    """Take the brain without its rim, where masks differ more than images do."""
    import edt

    depth = edt.edt(case.brain, anisotropy=case.spacing_mm, black_border=True)
    return np.asarray(depth > _MARGIN_MM)


def _noise(visit: Image, deep: Mask, case: PreparedCase) -> Values:
    """Estimate the sd of what smoothing in plane removes, in cubes of 5 voxels a side in flat regions."""
    from scipy import ndimage

    sigma = _sigma(case)
    fine = np.abs(visit - ndimage.gaussian_filter(visit, sigma))
    flat = deep & (_slope(ndimage.gaussian_filter(visit, sigma), case) < 0.15)
    size = [5 if plane else 1 for plane in _in_plane(case)]
    share = ndimage.uniform_filter(flat.astype(np.float32), size)
    mean = ndimage.uniform_filter(np.where(flat, fine, 0), size) / np.maximum(share, 1e-6)
    return _drawn(np.asarray(mean * np.sqrt(np.pi / 2), dtype=np.float32), flat & (share > 0.5), case.name)


def _slope(image: Image, case: PreparedCase) -> Image:
    """Compute the length of the gradient in plane, per mm."""
    steps = [
        np.gradient(image, edge, axis=axis)
        for axis, (edge, plane) in enumerate(zip(case.spacing_mm, _in_plane(case), strict=True))
        if plane
    ]
    return np.asarray(np.sqrt(sum(step**2 for step in steps)), dtype=np.float32)


def _border(first: Mask, second: Mask) -> Mask:
    """Find the voxels of `second` that touch `first` by a face."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(first) & second)


def _grain(difference: Image, deep: Mask, case: PreparedCase) -> float:
    """Correlate neighbours along the first in-plane axis, of what smoothing in plane removes."""
    from scipy import ndimage

    fine = difference - ndimage.gaussian_filter(difference, [3 * width for width in _sigma(case)])
    axis = int(np.flatnonzero(_in_plane(case))[0])
    here, there = (np.take(fine, range(start, fine.shape[axis] - 1 + start), axis) for start in (0, 1))
    both = np.take(deep, range(fine.shape[axis] - 1), axis) & np.take(deep, range(1, fine.shape[axis]), axis)
    return float((here * there)[both].mean() / (fine**2)[deep].mean()) if both.any() else float("nan")


def _rises(difference: Image, lesion: Mask) -> Values:
    """Compute the mean difference of every lesion."""
    components = label_components(lesion, 26)[0].ravel()
    sums = np.bincount(components, weights=difference.ravel().astype(np.float64))
    return np.asarray((sums / np.maximum(np.bincount(components), 1))[1:])


def _depths(masks: CaseMasks, components: NDArray[np.integer], count: int) -> Values:
    """Compute the greatest distance of each lesion's voxels from the border of the brain."""
    import edt
    from scipy import ndimage

    depth = edt.edt(masks.brain, anisotropy=masks.grid.spacing_mm, black_border=True)
    return np.asarray(ndimage.maximum(depth, components, np.arange(1, count + 1)), dtype=np.float64).reshape(count)


def _places(masks: CaseMasks, components: NDArray[np.integer], count: int) -> Values:
    """Locate the centre of each lesion in the brain's box (lesions, 3).

    From the midline 0 to 1, back to front, bottom to top. Directions come from the affine, so storage order and flips
    don't matter. The box ends at percentiles .5 and 99.5.
    """
    from scipy import ndimage

    if count == 0:
        return np.empty((0, 3))
    affine = masks.grid.affine

    def world(voxels: NDArray[np.floating]) -> Values:
        return np.asarray(voxels @ affine[:3, :3].T + affine[:3, 3])

    brain = world(np.argwhere(masks.brain)[::7].astype(np.float64))
    low, high = np.quantile(brain, (0.005, 0.995), axis=0)
    found = ndimage.center_of_mass(masks.lesion, components, np.arange(1, count + 1))
    share = (world(np.array(found, dtype=np.float64)) - low) / (high - low)
    return np.column_stack([np.abs(2 * share[:, 0] - 1), share[:, 1], share[:, 2]])
