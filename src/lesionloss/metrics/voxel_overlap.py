"""Metrics of voxel overlap: arithmetic on four counts."""

from lesionloss.metrics.case import Case
from lesionloss.metrics.metric_registry import COMPUTED, NAN, SHARE, Better, EmptyValues, metric, zero


def _share(part: float, whole: float) -> float:
    return part / whole if whole else NAN


@metric(
    "dice",
    title="Dice coefficient",
    short_title="Dice",
    unit="",
    direction=Better.HIGHER,
    source="Dice 1945; Zijdenbos et al. 1994",
    empty=EmptyValues(pred=0.0, ref=0.0, both=NAN),
    worst=zero,
    limits=SHARE,
)
def dice(case: Case) -> float:
    """2 TP / (2 TP + FP + FN)."""
    c = case.counts
    return 2 * c.tp / (2 * c.tp + c.fp + c.fn)


@metric(
    "jaccard",
    title="Jaccard index (IoU)",
    short_title="Jaccard",
    unit="",
    direction=Better.HIGHER,
    source="Jaccard 1912",
    empty=EmptyValues(pred=0.0, ref=0.0, both=NAN),
    worst=zero,
    limits=SHARE,
)
def jaccard(case: Case) -> float:
    """TP / (TP + FP + FN)."""
    c = case.counts
    return c.tp / (c.tp + c.fp + c.fn)


@metric(
    "precision",
    title="Precision (positive predictive value) of voxels",
    short_title="Precision",
    unit="",
    direction=Better.HIGHER,
    source="van Rijsbergen 1979",
    empty=EmptyValues(pred=NAN, ref=0.0, both=NAN),
    worst=zero,
    limits=SHARE,
)
def precision(case: Case) -> float:
    """TP / (TP + FP)."""
    c = case.counts
    return _share(c.tp, c.tp + c.fp)


@metric(
    "recall",
    title="Recall (sensitivity, TPR) of voxels",
    short_title="Recall",
    unit="",
    direction=Better.HIGHER,
    source="van Rijsbergen 1979",
    empty=EmptyValues(pred=0.0, ref=NAN, both=NAN),
    worst=zero,
    limits=SHARE,
)
def recall(case: Case) -> float:
    """TP / (TP + FN)."""
    c = case.counts
    return _share(c.tp, c.tp + c.fn)


@metric(
    "specificity",
    title="Specificity (TNR) of voxels, over the whole image",
    short_title="Specificity",
    unit="",
    direction=Better.HIGHER,
    source="Yerushalmy 1947",
    empty=COMPUTED,
    worst=zero,
    limits=SHARE,
)
def specificity(case: Case) -> float:
    """TN / (TN + FP). Outside the brain nearly all voxels are TN, so that it is always near 1."""
    c = case.counts
    return _share(c.tn, c.tn + c.fp)
