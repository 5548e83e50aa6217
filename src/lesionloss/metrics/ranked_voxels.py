"""A metric of the whole range of thresholds: how well probabilities rank lesion voxels above the others."""

import numpy as np

from lesionloss.metrics.calibration import WHOLE, region_slabs
from lesionloss.metrics.case import Case
from lesionloss.metrics.metric_registry import NAN, SHARE, Better, EmptyValues, RequiredMap, metric, zero


@metric(
    "auprc",
    title="Area under the precision-recall curve of voxels (average precision)",
    short_title="AUPRC",
    unit="",
    direction=Better.HIGHER,
    source="Davis & Goadrich 2006; in steps, as scikit-learn's average precision",
    empty=EmptyValues(pred=None, ref=NAN, both=NAN),
    worst=zero,
    needs=(RequiredMap.PROBABILITY,),
    limits=SHARE,
)
def auprc(case: Case) -> float:
    """Sum over thresholds, from high to low, of the rise in recall times the precision there."""
    levels, held = np.unique(np.concatenate([p[y] for p, y in region_slabs(case, WHOLE)]), return_counts=True)
    reached = np.zeros(levels.size + 1, dtype=np.int64)  # voxels by the number of levels that they reach
    for p, _ in region_slabs(case, WHOLE):
        reached += np.bincount(np.searchsorted(levels, p, side="right"), minlength=levels.size + 1)
    tp, predicted = np.cumsum(held[::-1]), np.cumsum(reached[:0:-1])
    return float((held[::-1] * tp / predicted).sum() / held.sum())
