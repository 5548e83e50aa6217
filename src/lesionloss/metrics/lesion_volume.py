"""Volumes in mm3 (areas in mm2 for 2-D images): descriptions of a case, and errors of the predicted volume."""

from lesionloss.metrics.case import Case
from lesionloss.metrics.metric_registry import COMPUTED, INF, NAN, NOT_NEGATIVE, Better, EmptyValues, metric

UNIT = "mm3"
RELATIVE = EmptyValues(pred=-1.0, ref=INF, both=NAN)


def _predicted_mm3(case: Case) -> float:
    return (case.counts.tp + case.counts.fp) * case.voxel_mm3


def _reference_mm3(case: Case) -> float:
    return (case.counts.tp + case.counts.fn) * case.voxel_mm3


@metric(
    "volume_mm3",
    title="Predicted volume",
    unit=UNIT,
    direction=Better.NONE,
    source="voxels times their volume",
    empty=COMPUTED,
    limits=NOT_NEGATIVE,
)
def volume_mm3(case: Case) -> float:
    """Predicted voxels times the volume of a voxel; in 2-D an area in mm2."""
    return _predicted_mm3(case)


@metric(
    "reference_volume_mm3",
    title="Reference volume",
    unit=UNIT,
    direction=Better.NONE,
    source="voxels times their volume",
    empty=COMPUTED,
    limits=NOT_NEGATIVE,
)
def reference_volume_mm3(case: Case) -> float:
    """Reference voxels times the volume of a voxel; in 2-D an area in mm2."""
    return _reference_mm3(case)


@metric(
    "volume_difference_mm3",
    title="Predicted minus reference volume",
    unit=UNIT,
    direction=Better.NEARER_ZERO,
    source="Heimann et al. 2009",
    empty=COMPUTED,
)
def volume_difference_mm3(case: Case) -> float:
    """Predicted minus reference volume; above 0 too much is predicted."""
    return _predicted_mm3(case) - _reference_mm3(case)


@metric(
    "absolute_volume_difference_mm3",
    title="Absolute difference of the volumes",
    unit=UNIT,
    direction=Better.LOWER,
    source="Heimann et al. 2009",
    empty=COMPUTED,
    limits=NOT_NEGATIVE,
)
def absolute_volume_difference_mm3(case: Case) -> float:
    """|predicted - reference volume|."""
    return abs(volume_difference_mm3(case))


@metric(
    "relative_volume_difference",
    title="Predicted minus reference volume, over the reference's",
    unit="",
    direction=Better.NEARER_ZERO,
    source="Heimann et al. 2009",
    empty=RELATIVE,
    limits=(-1.0, INF),
)
def relative_volume_difference(case: Case) -> float:
    """(predicted - reference volume) / reference volume."""
    return volume_difference_mm3(case) / _reference_mm3(case)
