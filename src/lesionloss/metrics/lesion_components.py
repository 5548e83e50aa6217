"""Lesions as connected components, how those of prediction and reference overlap, and when one counts as found.

Legend: R reference lesions, P predicted lesions, both sorted from the largest to the smallest.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import Integers, VoxelRuns, components_of_runs, find_runs, overlapping_pairs
from lesionloss.core.errors import UsageError
from lesionloss.metrics.array_checks import Mask

# A header holds its spacing in float32: three voxels of 1.0000001 mm3 are no more than 3 mm3.
HEADER_ROUNDING = 1 + 1e-6


@dataclass(frozen=True)
class LesionComponents:
    """The components kept from one mask.

    `labels`: for each run of foreground, 1 for the largest lesion, 0 for components that were too small, shape
    (runs,); `sizes`: voxels of each lesion, largest first.
    """

    runs: VoxelRuns
    labels: Integers
    sizes: Integers


@dataclass(frozen=True)
class LesionOverlap:
    """Voxels shared by reference lesion i and predicted lesion j in `table[i, j]`, shape (R, P), and all sizes."""

    table: Integers
    ref_sizes: Integers
    pred_sizes: Integers

    def swapped(self) -> "LesionOverlap":
        """The same with the roles of prediction and reference exchanged."""
        return LesionOverlap(self.table.T, self.pred_sizes, self.ref_sizes)


@dataclass(frozen=True)
class AnimaRule:
    """When a lesion counts as found (Commowick et al. 2018, Objective evaluation of MS lesion segmentation).

    `covered`: more than this share of it lies in lesions of the other mask; `counted`: those lesions are taken from
    the largest overlap on, until they make up this share of the overlap; `outside`: none of those taken may lie by
    more than this share outside all lesions of its counterpart. `released_bound` stops taking after R + 1 lesions, as
    the loop in animaSegPerfAnalyzer does.
    """

    covered: float = 0.10
    counted: float = 0.65
    outside: float = 0.70
    released_bound: bool = False


def fewest_voxels(min_volume_mm3: float, voxel_mm3: float) -> int:
    """The smallest number of voxels whose volume is strictly larger than `min_volume_mm3` (animaSegPerfAnalyzer).

    Raises:
        UsageError: for volumes that are none.
    """
    if not (0 <= min_volume_mm3 < math.inf and 0 < voxel_mm3 < math.inf):
        raise UsageError(f"expected volumes in mm3 (a voxel's above 0), got {min_volume_mm3:g} and {voxel_mm3:g}")
    return math.floor(min_volume_mm3 / voxel_mm3 * HEADER_ROUNDING) + 1


def find_lesions(mask: Mask, connectivity: int, min_voxels: int) -> LesionComponents:
    """Find the lesions of a mask: its connected components, the largest first.

    Args:
        mask: `*space`, 2-D or 3-D.
        connectivity: 6, 18 or 26 neighbours.
        min_voxels: Components with fewer voxels are left out.

    Raises:
        UsageError: for another connectivity.
    """
    runs = find_runs(mask)
    found = components_of_runs(runs, connectivity)
    sizes = np.bincount(found, weights=runs.sizes).astype(np.int64)
    order = np.argsort(-sizes, kind="stable")
    order = order[: np.count_nonzero(sizes >= min_voxels)]
    rank = np.zeros(sizes.shape, dtype=np.int64)
    rank[order] = np.arange(1, order.size + 1)
    return LesionComponents(runs, rank[found], sizes[order])


def overlap(pred: LesionComponents, ref: LesionComponents) -> LesionOverlap:
    """How the lesions of two masks on one grid overlap; all other voxels are background to it."""
    p, r = pred.runs, ref.runs
    in_pred, in_ref = overlapping_pairs(p.first, p.last, r.first, r.last)
    shared = np.minimum(p.last[in_pred], r.last[in_ref]) - np.maximum(p.first[in_pred], r.first[in_ref]) + 1
    pred_label, ref_label = pred.labels[in_pred], ref.labels[in_ref]
    kept = (pred_label > 0) & (ref_label > 0)
    count = pred.sizes.size
    pairs = (ref_label[kept] - 1) * count + pred_label[kept] - 1
    table = np.bincount(pairs, weights=shared[kept], minlength=ref.sizes.size * count)
    return LesionOverlap(table.reshape(ref.sizes.size, count).astype(np.int64), ref.sizes, pred.sizes)


def _enough_inside(row: Integers, share_outside: NDArray[np.float64], rule: AnimaRule, bound: int) -> bool:
    total, taken = row.sum(), 0.0
    for rank, lesion in enumerate(np.argsort(-row, kind="stable")):
        if taken >= rule.counted or (rule.released_bound and rank >= bound):
            break
        if share_outside[lesion] > rule.outside:
            return False
        taken += row[lesion] / total
    return True


def detected(overlap: LesionOverlap, rule: AnimaRule) -> NDArray[np.bool_]:
    """Which reference lesions are found, shape (R,). For predicted lesions give `overlap.swapped()`."""
    share_outside = (overlap.pred_sizes - overlap.table.sum(axis=0)) / overlap.pred_sizes
    candidates = overlap.table.sum(axis=1) / overlap.ref_sizes > rule.covered
    bound = overlap.ref_sizes.size + 1
    return np.array(
        [
            bool(candidate) and _enough_inside(row, share_outside, rule, bound)
            for candidate, row in zip(candidates, overlap.table, strict=True)
        ],
        dtype=np.bool_,
    )


def touched(overlap: LesionOverlap) -> NDArray[np.bool_]:
    """Which reference lesions share at least one voxel with a predicted lesion, shape (R,)."""
    return np.asarray(overlap.table.any(axis=1))
