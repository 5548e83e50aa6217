"""The surface as elements with an area, at the corners between voxels, as DeepMind's surface-distance counts it.

Each 2 x 2 x 2 neighbourhood of voxels that holds both foreground and background has one element in its centre; its
area (length in 2-D) is that of the marching-cubes patch through it (Nikolov et al. 2018, arXiv 1809.04430).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.metrics.array_checks import Floats, Mask
from lesionloss.metrics.borders import nearest


@dataclass(frozen=True)
class SurfelDistances:
    """Distances in mm between the elements of two surfaces, and the area of each in mm2, in the same order."""

    pred_to_ref: Floats
    ref_to_pred: Floats
    pred_area: Floats
    ref_area: Floats


def _codes(mask: Mask) -> NDArray[np.uint8]:
    """Which of the voxels around each corner are foreground, as bits: the first voxel is the highest bit."""
    padded = np.pad(mask, 1).view(np.uint8)
    corners = [(0, 1)] * mask.ndim
    codes = np.zeros(tuple(size + 1 for size in mask.shape), dtype=np.uint8)
    for offset in np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, mask.ndim):
        shifted = tuple(slice(start, start + size) for start, size in zip(offset, codes.shape, strict=True))
        codes *= 2
        codes += padded[shifted]
    return codes


def _surfels(mask: Mask, spacing_mm: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Places in mm, shape (n, dimensions), and areas, shape (n,), of the surface elements of a mask."""
    from monai.metrics.utils import get_code_to_measure_table

    table, _ = get_code_to_measure_table(spacing_mm)  # type: ignore[no-untyped-call]
    area_of = np.asarray(table, dtype=np.float64)
    codes = _codes(mask)
    mixed = (codes != 0) & (codes != area_of.size - 1)
    return np.argwhere(mixed) * np.asarray(spacing_mm), area_of[codes[mixed]]


def surfel_distances(pred: Mask, ref: Mask, spacing_mm: tuple[float, ...]) -> SurfelDistances:
    """All distances between the surface elements of two non-empty masks."""
    pred_mm, pred_area = _surfels(pred, spacing_mm)
    ref_mm, ref_area = _surfels(ref, spacing_mm)
    return SurfelDistances(nearest(pred_mm, ref_mm), nearest(ref_mm, pred_mm), pred_area, ref_area)


def area_percentile(distances_mm: Floats, area: Floats, percent: float) -> float:
    """The distance below which that much of the area lies, without interpolation."""
    order = np.lexsort((area, distances_mm))
    reached = np.cumsum(area[order]) / area.sum()
    place = min(int(np.searchsorted(reached, percent / 100)), order.size - 1)
    return float(distances_mm[order[place]])
