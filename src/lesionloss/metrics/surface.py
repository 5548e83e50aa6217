"""Metrics of the boundary, in mm, or voxels. Where nothing is predicted, the distance is infinite, never zero.

Three families go by the same names elsewhere: distances between border voxels, the larger of the two directions (no
suffix; MONAI, Metrics Reloaded); both directions pooled (`_pooled`; medpy); surface elements weighted by
their area (`_surfel`; DeepMind's surface-distance).
"""

from functools import partial

import numpy as np

from lesionloss.metrics.array_checks import Floats
from lesionloss.metrics.borders import ROUNDING, SurfaceDistances
from lesionloss.metrics.case import Case
from lesionloss.metrics.metric_registry import (
    INF,
    NAN,
    NOT_NEGATIVE,
    SHARE,
    Better,
    EmptyValues,
    diagonal_mm,
    metric,
    zero,
)
from lesionloss.metrics.surfels import area_percentile

_distance = partial(
    metric,
    unit="mm",
    direction=Better.LOWER,
    empty=EmptyValues(pred=INF, ref=INF, both=NAN),
    worst=diagonal_mm,
    limits=NOT_NEGATIVE,
)
_agreement = partial(
    metric,
    unit="",
    direction=Better.HIGHER,
    empty=EmptyValues(pred=0.0, ref=0.0, both=NAN),
    worst=zero,
    limits=SHARE,
)


def _distances(case: Case, voxels: bool) -> SurfaceDistances:
    return case.in_voxels.distances if voxels else case.distances


def _percentile(distances_mm: Floats, percent: float) -> float:
    return float(np.percentile(distances_mm, percent))


def _area_mean(distances_mm: Floats, area: Floats) -> float:
    return float((distances_mm * area).sum() / area.sum())


@_distance("hd", title="Hausdorff distance", source="Hausdorff 1914; Huttenlocher et al. 1993")
def hd(case: Case, *, percent: float = 100.0, voxels: bool = False) -> float:
    """The larger of the two directed percentiles, with linear interpolation."""
    d = _distances(case, voxels)
    return max(_percentile(d.pred_to_ref, percent), _percentile(d.ref_to_pred, percent))


@_distance(
    "hd95",
    title="95 % Hausdorff distance, larger of the two directions",
    short_title="95 % Hausdorff distance",
    source="Huttenlocher et al. 1993; Maier-Hein et al. 2024 (Metrics Reloaded); as MONAI",
)
def hd95(case: Case, *, voxels: bool = False) -> float:
    """hd(percent=95)."""
    return hd(case, percent=95.0, voxels=voxels)


@_distance("hd95_pooled", title="95 % Hausdorff distance, both directions pooled", source="as medpy's hd95")
def hd95_pooled(case: Case, *, voxels: bool = False) -> float:
    """The 95 % percentile of the distances of both directions together; a missed lesion may not change it."""
    d = _distances(case, voxels)
    return _percentile(np.concatenate([d.pred_to_ref, d.ref_to_pred]), 95)


@_distance(
    "asd_pred_to_ref",
    title="Average distance from the prediction's border to the reference's",
    short_title="Distance, prediction to reference",
    source="as medpy's asd(prediction, reference), MONAI's default",
)
def asd_pred_to_ref(case: Case, *, voxels: bool = False) -> float:
    """Mean over the border voxels of the prediction of the distance to the nearest of the reference."""
    return float(_distances(case, voxels).pred_to_ref.mean())


@_distance(
    "asd_ref_to_pred",
    title="Average distance from the reference's border to the prediction's",
    short_title="Distance, reference to prediction",
    source="as medpy's asd(reference, prediction)",
)
def asd_ref_to_pred(case: Case, *, voxels: bool = False) -> float:
    """Mean over the border voxels of the reference of the distance to the nearest of the prediction."""
    return float(_distances(case, voxels).ref_to_pred.mean())


@_distance(
    "assd",
    title="Average symmetric surface distance, both directions pooled",
    short_title="Mean surface distance",
    source="Heimann et al. 2009; as medpy, MONAI (symmetric=True)",
)
def assd(case: Case, *, voxels: bool = False) -> float:
    """Mean over the border voxels of both masks of the distance to the nearest of the other."""
    d = _distances(case, voxels)
    return float((d.pred_to_ref.sum() + d.ref_to_pred.sum()) / (d.pred_to_ref.size + d.ref_to_pred.size))


@_agreement(
    "nsd",
    title="Normalised surface Dice at a tolerance",
    short_title="Surface Dice",
    source="Nikolov et al. 2018, on border voxels; as MONAI",
)
def nsd(case: Case, *, tolerance_mm: float = 1.0) -> float:
    """Share of the border voxels of both masks that lie within the tolerance of the other border."""
    d, limit = case.distances, tolerance_mm * ROUNDING
    within = np.count_nonzero(d.pred_to_ref <= limit) + np.count_nonzero(d.ref_to_pred <= limit)
    return within / (d.pred_to_ref.size + d.ref_to_pred.size)


@_distance("hd_surfel", title="Hausdorff distance between surface elements", source="Nikolov et al. 2018")
def hd_surfel(case: Case, *, percent: float = 100.0) -> float:
    """The larger of the two directed distances below which the percentage of the area lies, without interpolation."""
    s = case.surfels
    return max(
        area_percentile(s.pred_to_ref, s.pred_area, percent), area_percentile(s.ref_to_pred, s.ref_area, percent)
    )


@_distance("hd95_surfel", title="95 % Hausdorff distance, weighted by area", source="Nikolov et al. 2018")
def hd95_surfel(case: Case) -> float:
    """hd_surfel(percent=95)."""
    return hd_surfel(case, percent=95.0)


@_distance(
    "asd_pred_to_ref_surfel",
    title="Average distance prediction to reference, weighted by area",
    source="Nikolov et al. 2018",
)
def asd_pred_to_ref_surfel(case: Case) -> float:
    """Mean distance of the surface elements of the prediction, weighted by their area."""
    return _area_mean(case.surfels.pred_to_ref, case.surfels.pred_area)


@_distance(
    "asd_ref_to_pred_surfel",
    title="Average distance reference to prediction, weighted by area",
    source="Nikolov et al. 2018",
)
def asd_ref_to_pred_surfel(case: Case) -> float:
    """Mean distance of the surface elements of the reference, weighted by their area."""
    return _area_mean(case.surfels.ref_to_pred, case.surfels.ref_area)


@_agreement(
    "nsd_surfel", title="Normalised surface Dice at a tolerance, weighted by area", source="Nikolov et al. 2018"
)
def nsd_surfel(case: Case, *, tolerance_mm: float = 1.0) -> float:
    """Share of the area of both surfaces that lies within the tolerance of the other surface."""
    s, limit = case.surfels, tolerance_mm * ROUNDING
    within = s.pred_area[s.pred_to_ref <= limit].sum() + s.ref_area[s.ref_to_pred <= limit].sum()
    return float(within / (s.pred_area.sum() + s.ref_area.sum()))
