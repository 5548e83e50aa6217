"""Free-response operating characteristic: which lesions are found when so many false positives are allowed.

Candidates are the lesions of the probability map at a low threshold; the largest probability inside is the confidence
of one. A candidate finds the reference lesions with which it has an intersection over union (IoU) of at least 0.1; one
that finds none is a false positive. So a candidate that fills the image finds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import UsageError
from lesionloss.metrics.array_checks import Floats
from lesionloss.metrics.case import Case
from lesionloss.metrics.lesion_components import fewest_voxels, find_lesions, overlap
from lesionloss.metrics.lesion_detection import status_of_lesions
from lesionloss.metrics.metric_registry import NAN, SHARE, Better, EmptyValues, RequiredMap, metric, zero
from lesionloss.metrics.thresholds import is_lesion

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per case, of Setio et al. 2017
NOT_FOUND = -1.0


@dataclass(frozen=True)
class Detections:
    """`found`: confidence of the surest candidate on each reference lesion, or -1; `false`: of each false positive."""

    found: Floats
    false: Floats


def detections(
    case: Case,
    least: float = 0.1,
    iou: float = 0.1,
    connectivity: int = 6,
    min_volume_mm3: float = 3.0,
    min_voxels: int | None = None,
) -> Detections:
    """Candidates of a case against its reference lesions.

    Raises:
        UsageError: the case has no probability map, or another connectivity than 6, 18 and 26.
    """
    if case.probability is None:
        raise UsageError("froc needs a probability map, and this case has none; pass one to Case")
    fewest = fewest_voxels(min_volume_mm3, case.voxel_mm3) if min_voxels is None else min_voxels
    mask = is_lesion(case.probability, least)
    if case.ignore is not None:
        mask &= ~case.ignore
    candidates, lesions = (find_lesions(each, connectivity, fewest) for each in (mask, case.reference))
    shared = overlap(candidates, lesions).table
    union = lesions.sizes[:, None] + candidates.sizes - shared
    finds = (shared > 0) & (shared >= iou * union)
    confidence = np.zeros(candidates.sizes.size + 1)
    np.maximum.at(confidence, candidates.runs.filled(candidates.labels)[mask], case.probability[mask])
    surest = np.where(finds, confidence[1:], NOT_FOUND).max(axis=1, initial=NOT_FOUND)
    return Detections(surest, confidence[1:][~finds.any(axis=0)])


def _sensitivity(found: Floats, false: Floats, allowed: int) -> float:
    """Share of lesions found at the lowest threshold with at most so many false positives."""
    above = np.sort(false)[::-1][allowed] if false.size > allowed else NOT_FOUND
    return float((found > above).mean()) if found.size else NAN


@with_checked_types
def froc_curve(
    cases: Sequence[Case],
    rates: Sequence[float] = RATES,
    *,
    least: float = 0.1,
    iou: float = 0.1,
    connectivity: int = 6,
    min_volume_mm3: float = 3.0,
    min_voxels: int | None = None,
) -> Floats:
    """The FROC curve over all cases together; its mean at the default rates is the score of Setio et al. 2017 (LUNA16).

    Args:
        cases: Cases with probability maps.
        rates: Numbers of false positives per case.
        least: Voxels of at least this probability make the candidates.
        iou: A candidate finds a lesion if their intersection over union is at least this.
        connectivity: 6, 18 or 26 neighbours.
        min_volume_mm3: A lesion or candidate is larger than this.
        min_voxels: A lesion or candidate has at least so many voxels, whatever their volume.

    Returns:
        For each rate, shape (rates,), the share of all reference lesions found at the lowest threshold with at most so
        many false positives per case; NaN without a reference lesion.

    Raises:
        UsageError: there is no case, a case has no probability map, or a rate is negative.
    """
    if not cases or min(rates, default=0) < 0:
        raise UsageError(f"froc_curve needs cases and rates of 0 or more, got {len(cases)} cases, rates {list(rates)}")
    each = [detections(case, least, iou, connectivity, min_volume_mm3, min_voxels) for case in cases]
    found, false = np.concatenate([one.found for one in each]), np.concatenate([one.false for one in each])
    return np.array([_sensitivity(found, false, int(rate * len(cases))) for rate in rates])


@metric(
    "froc",
    title="Mean lesion sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false-positive lesions",
    short_title="FROC",
    unit="",
    direction=Better.HIGHER,
    source="Bunch et al. 1977; rates of Setio et al. 2017 (LUNA16), in each case; IoU as in the PI-CAI challenge",
    empty=EmptyValues(pred=None, ref=NAN, both=NAN),
    worst=zero,
    needs=(RequiredMap.PROBABILITY,),
    status=status_of_lesions,
    limits=SHARE,
)
def froc(
    case: Case,
    *,
    least: float = 0.1,
    iou: float = 0.1,
    connectivity: int = 6,
    min_volume_mm3: float = 3.0,
    min_voxels: int | None = None,
) -> float:
    """Mean over the rates of the share of reference lesions found where at most so many false positives are allowed.

    In one case a rate below 1 allows none. Candidates are the lesions of p >= least, each with its
    largest p; one finds the lesions with which its IoU is at least `iou`, and is a false positive if it finds none.
    Over all cases together: `lesionloss.metrics.froc_curve`.
    """
    one = detections(case, least, iou, connectivity, min_volume_mm3, min_voxels)
    return float(np.mean([_sensitivity(one.found, one.false, int(rate)) for rate in RATES]))
