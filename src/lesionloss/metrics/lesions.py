"""Metrics that count lesions instead of voxels.

A lesion is a component with more than `min_volume_mm3`, or with at least `min_voxels` voxels if that is given;
`connectivity` is 6, 18 or 26. Where no lesion is left on one side, the table for empty masks holds as well.
"""

import numpy as np

from lesionloss.metrics.case import Case
from lesionloss.metrics.components import AnimaRule, Overlap, detected, fewest_voxels
from lesionloss.metrics.registry import NAN, Better, Empty, metric, zero

COMMOWICK = "Commowick et al. 2018; animaSegPerfAnalyzer"


def lesion_overlap(case: Case, connectivity: int, min_volume_mm3: float, min_voxels: int | None) -> Overlap:
    """The overlap table of the lesions of a case under one rule of what a lesion is."""
    fewest = fewest_voxels(min_volume_mm3, case.voxel_mm3) if min_voxels is None else min_voxels
    return case.lesions(connectivity, fewest)[2]


def share(found: np.ndarray) -> float:
    """Share of lesions that were found; NaN if there is none."""
    return float(found.mean()) if found.size else NAN


def f1(sensitivity: float, ppv: float) -> float:
    """Harmonic mean; 0 if one side has lesions and nothing matches, NaN if neither has any."""
    if np.isnan(sensitivity) and np.isnan(ppv):
        return NAN
    if np.isnan(sensitivity) or np.isnan(ppv) or sensitivity + ppv == 0:
        return 0.0
    return 2 * sensitivity * ppv / (sensitivity + ppv)


@metric(
    "lesion_f1",
    title="Lesion-wise F1 (MSSEG)",
    unit="",
    direction=Better.HIGHER,
    source=COMMOWICK,
    empty=Empty(pred=0.0, ref=0.0, both=NAN),
    worst=zero,
)
def lesion_f1(
    case: Case,
    *,
    connectivity: int = 6,
    min_volume_mm3: float = 3.0,
    min_voxels: int | None = None,
    covered: float = 0.10,
    counted: float = 0.65,
    outside: float = 0.70,
    released_bound: bool = False,
) -> float:
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    rule = AnimaRule(covered, counted, outside, released_bound)
    return f1(share(detected(table, rule)), share(detected(table.swapped(), rule)))
