"""One row for each lesion of a case, and detection by size class."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.metrics.case import Case
from lesionloss.metrics.lesion_components import LesionComponents, LesionOverlap, fewest_voxels

# Volumes of balls of 3, 5 and 10 mm diameter; 3 mm is the least that the MAGNIMS and McDonald criteria call a lesion.
SIZE_EDGES_MM3 = (14.1, 65.4, 523.6)


@dataclass(frozen=True)
class LesionRow:
    """One lesion of the reference, or of the prediction if `in_reference` is False.

    `found`: it shares a voxel with a lesion of the other mask; `dice`: with its match, the lesion of the other mask
    that shares most voxels with it, 0 if there is none; `match`: the number of that lesion, or None; `centre`: mean
    voxel index in the image.
    """

    in_reference: bool
    number: int
    voxels: int
    volume_mm3: float
    centre: tuple[float, ...]
    found: bool
    match: int | None
    dice: float


@dataclass(frozen=True)
class SizeClass:
    """Lesions with `above_mm3` < volume <= `up_to_mm3`, how many, and how many of them were found."""

    above_mm3: float
    up_to_mm3: float
    lesions: int
    found: int


def _centres(lesions: LesionComponents, case: Case) -> NDArray[np.float64]:
    box = case.box or ()
    runs, voxels = lesions.runs, lesions.runs.sizes
    *rows, first = np.unravel_index(runs.first, tuple(extent.stop - extent.start for extent in box))
    middles = [*rows, first + (voxels - 1) / 2]
    count = lesions.sizes.size + 1
    sums = [np.bincount(lesions.labels, weights=middle * voxels, minlength=count)[1:] for middle in middles]
    starts = [extent.start for extent in box]
    return np.stack([total / lesions.sizes + start for total, start in zip(sums, starts, strict=True)], axis=1)


def _rows(case: Case, lesions: LesionComponents, overlap: LesionOverlap, in_reference: bool) -> list[LesionRow]:
    """Rows of the lesions along the first axis of the overlap table."""
    if lesions.sizes.size == 0:
        return []
    rows = []
    for index, (centre, shared) in enumerate(zip(_centres(lesions, case), overlap.table, strict=True)):
        size = int(overlap.ref_sizes[index])
        best = int(shared.argmax()) if shared.any() else None
        dice = 0.0 if best is None else 2 * int(shared[best]) / (size + int(overlap.pred_sizes[best]))
        rows.append(
            LesionRow(
                in_reference=in_reference,
                number=index + 1,
                voxels=size,
                volume_mm3=size * case.voxel_mm3,
                centre=tuple(float(place) for place in centre),
                found=best is not None,
                match=None if best is None else best + 1,
                dice=dice,
            )
        )
    return rows


def lesion_table(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> list[LesionRow]:
    """Reference lesions, then predicted lesions, each from the largest on; numbers start at 1 in each mask."""
    fewest = fewest_voxels(min_volume_mm3, case.voxel_mm3) if min_voxels is None else min_voxels
    pred, ref, overlap = case.lesions(connectivity, fewest)
    return _rows(case, ref, overlap, True) + _rows(case, pred, overlap.swapped(), False)


def detection_by_size(rows: Sequence[LesionRow], edges_mm3: Sequence[float] = SIZE_EDGES_MM3) -> list[SizeClass]:
    """How many reference lesions of each size were found; classes are (0, first edge], ..., (last edge, infinity)."""
    edges = [0.0, *edges_mm3, float("inf")]
    reference = [row for row in rows if row.in_reference]
    classes = []
    for above, up_to in itertools.pairwise(edges):
        inside = [row for row in reference if above < row.volume_mm3 <= up_to]
        classes.append(SizeClass(above, up_to, len(inside), sum(row.found for row in inside)))
    return classes
