"""Metrics of voxel overlap: arithmetic on four counts."""

import math

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


@metric(
    "npv",
    title="Negative predictive value of voxels, over the whole image",
    short_title="NPV",
    unit="",
    direction=Better.HIGHER,
    source="Altman & Bland 1994",
    empty=COMPUTED,
    worst=zero,
    limits=SHARE,
)
def npv(case: Case) -> float:
    """TN / (TN + FN), undefined where every voxel is predicted. As specificity, nearly 1 where lesions are few."""
    c = case.counts
    return _share(c.tn, c.tn + c.fn)


@metric(
    "mcc",
    title="Matthews correlation coefficient of voxels",
    short_title="MCC",
    unit="",
    direction=Better.HIGHER,
    source="Matthews 1975; as scikit-learn where both masks hold a voxel",
    empty=EmptyValues(pred=0.0, ref=0.0, both=NAN),
    worst=zero,
    limits=(-1.0, 1.0),
)
def mcc(case: Case) -> float:
    """(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)); 0 where a mask fills the image."""
    c = case.counts
    sides = (c.tp + c.fp, c.tp + c.fn, c.tn + c.fp, c.tn + c.fn)
    if not all(sides):
        return 0.0
    return (c.tp * c.tn - c.fp * c.fn) / math.sqrt(math.prod(sides))
