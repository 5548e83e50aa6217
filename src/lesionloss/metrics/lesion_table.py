"""One row for each lesion of a case, and detection by size class."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.argument_types import with_checked_types
from lesionloss.metrics.case import Case
from lesionloss.metrics.lesion_components import LesionComponents, LesionOverlap, fewest_voxels

# Volumes of balls of 3, 5 and 10 mm diameter; 3 mm is the least that the MAGNIMS and McDonald criteria call a lesion.
SIZE_EDGES_MM3 = (14.1, 65.4, 523.6)


@dataclass(frozen=True)
class LesionRow:
    """One lesion of a case.

    Args:
        in_reference: Whether it is a lesion of the reference, or else of the prediction.
        number: 1 for the largest of its mask.
        voxels: How many it has.
        volume_mm3: Their volume (area in mm2 in 2-D).
        centre: Mean voxel index in the image.
        found: Whether it shares a voxel with a lesion of the other mask.
        match: The number of the lesion of the other mask that shares most voxels with it; None if there is none.
        dice: With its match; 0 if there is none.
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


@with_checked_types
def lesion_table(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> list[LesionRow]:
    """The lesions of a case: those of the reference, then those of the prediction, each from the largest on.

    Args:
        case: The case.
        connectivity: 6, 18 or 26 neighbours, which make one lesion.
        min_volume_mm3: A lesion is larger than this.
        min_voxels: A lesion has at least so many voxels, whatever their volume; takes the place of `min_volume_mm3`.

    Raises:
        UsageError: for another connectivity.
    """
    fewest = fewest_voxels(min_volume_mm3, case.voxel_mm3) if min_voxels is None else min_voxels
    pred, ref, overlap = case.lesions(connectivity, fewest)
    return _rows(case, ref, overlap, True) + _rows(case, pred, overlap.swapped(), False)


@with_checked_types
def detection_by_size(rows: Sequence[LesionRow], edges_mm3: Sequence[float] = SIZE_EDGES_MM3) -> list[SizeClass]:
    """How many reference lesions of each size class were found: (0, first edge], ..., (last edge, infinity) in mm3."""
    edges = [0.0, *edges_mm3, float("inf")]
    reference = [row for row in rows if row.in_reference]
    classes = []
    for above, up_to in itertools.pairwise(edges):
        inside = [row for row in reference if above < row.volume_mm3 <= up_to]
        classes.append(SizeClass(above, up_to, len(inside), sum(row.found for row in inside)))
    return classes
