"""Metrics of the boundary, in mm. A missed patient is infinitely far away, never zero."""

import numpy as np

from lesionloss.metrics.arrays import Floats
from lesionloss.metrics.case import Case
from lesionloss.metrics.registry import INF, NAN, Better, Empty, diagonal_mm, metric

FAR = Empty(pred=INF, ref=INF, both=NAN)


def _percentile(distances_mm: Floats, percent: float) -> float:
    return float(np.percentile(distances_mm, percent))


@metric(
    "hd95",
    title="95 % Hausdorff distance, larger of the two directions",
    unit="mm",
    direction=Better.LOWER,
    source="Huttenlocher et al. 1993; Maier-Hein et al. 2024 (Metrics Reloaded); as MONAI",
    empty=FAR,
    worst=diagonal_mm,
)
def hd95(case: Case) -> float:
    d = case.distances
    return max(_percentile(d.pred_to_ref, 95), _percentile(d.ref_to_pred, 95))


@metric(
    "assd",
    title="Average symmetric surface distance, pooled",
    unit="mm",
    direction=Better.LOWER,
    source="Heimann et al. 2009; as medpy, MONAI (symmetric=True)",
    empty=FAR,
    worst=diagonal_mm,
)
def assd(case: Case) -> float:
    d = case.distances
    return float((d.pred_to_ref.sum() + d.ref_to_pred.sum()) / (d.pred_to_ref.size + d.ref_to_pred.size))
