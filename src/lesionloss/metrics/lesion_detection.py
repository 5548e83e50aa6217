"""Metrics that count lesions instead of voxels.

A lesion is a component with more than `min_volume_mm3`, or with at least `min_voxels` voxels if that is given;
`connectivity` is 6, 18 or 26. A mask without a lesion is empty to these metrics, even if it has smaller components.

Two rules of detection: that of the MSSEG challenges (no suffix), with its thresholds as options; and any shared voxel
(`_overlap`), because the challenge's rule rejects good tiny lesions: a 2 x 2 x 2 lesion wholly inside a 3 x 3 x 3
prediction isn't detected, for 70.4 % of the prediction lies outside.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lesionloss.metrics.case import Case, CaseStatus
from lesionloss.metrics.lesion_components import AnimaRule, LesionOverlap, detected, fewest_voxels, touched
from lesionloss.metrics.metric_options import Option
from lesionloss.metrics.metric_registry import COMPUTED, NAN, NOT_NEGATIVE, SHARE, Better, EmptyValues, metric, zero

MSSEG = "Commowick et al. 2018; animaSegPerfAnalyzer"
F1_EMPTY = EmptyValues(pred=0.0, ref=0.0, both=NAN)
SENSITIVITY_EMPTY = EmptyValues(pred=0.0, ref=NAN, both=NAN)
PPV_EMPTY = EmptyValues(pred=NAN, ref=0.0, both=NAN)


def status_of_lesions(case: Case, options: Mapping[str, Option]) -> CaseStatus:
    """Which mask holds no lesion, under the metric's rule of what a lesion is."""
    if case.status is CaseStatus.BOTH_EMPTY:
        return case.status
    names = ("connectivity", "min_volume_mm3", "min_voxels")
    connectivity, volume, voxels = (options[name] for name in names)
    table = lesion_overlap(case, int(connectivity or 6), float(volume or 0), None if voxels is None else int(voxels))
    if table.pred_sizes.size == 0:
        return CaseStatus.PRED_EMPTY if table.ref_sizes.size else CaseStatus.BOTH_EMPTY
    return CaseStatus.OK if table.ref_sizes.size else CaseStatus.REF_EMPTY


_score = partial(metric, unit="", direction=Better.HIGHER, worst=zero, status=status_of_lesions, limits=SHARE)
_count = partial(
    metric,
    direction=Better.LOWER,
    source="any shared voxel",
    empty=COMPUTED,
    status=status_of_lesions,
    limits=NOT_NEGATIVE,
)


def lesion_overlap(
    case: Case, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> LesionOverlap:
    """The overlap table of the lesions of a case under one rule of what a lesion is."""
    fewest = fewest_voxels(min_volume_mm3, case.voxel_mm3) if min_voxels is None else min_voxels
    return case.lesions(connectivity, fewest)[2]


def share(found: NDArray[np.bool_]) -> float:
    """Share of lesions that were found; NaN if there is none."""
    return float(found.mean()) if found.size else NAN


def f1(sensitivity: float, ppv: float) -> float:
    """Harmonic mean; 0 if one side has lesions and nothing matches, NaN if neither has any."""
    if np.isnan(sensitivity) and np.isnan(ppv):
        return NAN
    if np.isnan(sensitivity) or np.isnan(ppv) or sensitivity + ppv == 0:
        return 0.0
    return 2 * sensitivity * ppv / (sensitivity + ppv)


@_score(
    "lesion_sensitivity",
    title="Share of reference lesions detected (MSSEG)",
    short_title="Lesion sensitivity",
    source=MSSEG,
    empty=SENSITIVITY_EMPTY,
)
def lesion_sensitivity(
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
    """Detected reference lesions / reference lesions."""
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    return share(detected(table, AnimaRule(covered, counted, outside, released_bound)))


@_score(
    "lesion_ppv",
    title="Share of predicted lesions that are right (MSSEG)",
    short_title="Lesion precision",
    source=MSSEG,
    empty=PPV_EMPTY,
)
def lesion_ppv(
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
    """Predicted lesions that the reference detects, by the same rule with roles exchanged / predicted lesions."""
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    return share(detected(table.swapped(), AnimaRule(covered, counted, outside, released_bound)))


@_score("lesion_f1", title="Lesion-wise F1 (MSSEG)", short_title="Lesion-wise F1", source=MSSEG, empty=F1_EMPTY)
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
    """2 S P / (S + P) of lesion_sensitivity S and lesion_ppv P; 0 if nothing matches."""
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    rule = AnimaRule(covered, counted, outside, released_bound)
    return f1(share(detected(table, rule)), share(detected(table.swapped(), rule)))


@_score(
    "lesion_sensitivity_overlap",
    title="Share of reference lesions touched",
    source="any shared voxel",
    empty=SENSITIVITY_EMPTY,
)
def lesion_sensitivity_overlap(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """Reference lesions that share a voxel with a predicted lesion / reference lesions."""
    return share(touched(lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)))


@_score(
    "lesion_ppv_overlap",
    title="Share of predicted lesions that touch a reference lesion",
    source="any shared voxel",
    empty=PPV_EMPTY,
)
def lesion_ppv_overlap(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """Predicted lesions that share a voxel with a reference lesion / predicted lesions."""
    return share(touched(lesion_overlap(case, connectivity, min_volume_mm3, min_voxels).swapped()))


@_score("lesion_f1_overlap", title="Lesion-wise F1, any shared voxel", source="any shared voxel", empty=F1_EMPTY)
def lesion_f1_overlap(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """2 S P / (S + P) of lesion_sensitivity_overlap S and lesion_ppv_overlap P; 0 if nothing matches."""
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    return f1(share(touched(table)), share(touched(table.swapped())))


@_score(
    "panoptic_quality",
    title="Panoptic quality of lesions",
    source="Kirillov et al. 2019",
    empty=F1_EMPTY,
)
def panoptic_quality(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """Sum of the IoU of matched lesions / (matched + half of the unmatched of both sides); IoU > 0.5 is a match."""
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    union = table.ref_sizes[:, None] + table.pred_sizes[None] - table.table
    iou = table.table / union
    matched = iou[2 * table.table > union]  # no lesion has two matches
    return float(2 * matched.sum() / (table.ref_sizes.size + table.pred_sizes.size))


@_count("missed_lesions", title="Reference lesions that nothing touches", short_title="Missed lesions", unit="lesions")
def missed_lesions(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """Number of reference lesions that share no voxel with a predicted lesion."""
    return float((~touched(lesion_overlap(case, connectivity, min_volume_mm3, min_voxels))).sum())


@_count(
    "false_positive_lesions",
    title="Predicted lesions that touch no reference lesion",
    short_title="False-positive lesions",
    unit="lesions",
)
def false_positive_lesions(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """Number of predicted lesions that share no voxel with a reference lesion."""
    return float((~touched(lesion_overlap(case, connectivity, min_volume_mm3, min_voxels).swapped())).sum())


@_count(
    "false_positive_lesion_volume_mm3",
    title="Volume of predicted lesions that touch none",
    short_title="False-positive volume",
    unit="mm3",
)
def false_positive_lesion_volume_mm3(
    case: Case, *, connectivity: int = 6, min_volume_mm3: float = 3.0, min_voxels: int | None = None
) -> float:
    """Volume of the predicted lesions that share no voxel with a reference lesion."""
    table = lesion_overlap(case, connectivity, min_volume_mm3, min_voxels)
    return float(table.pred_sizes[~touched(table.swapped())].sum() * case.voxel_mm3)
