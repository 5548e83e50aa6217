"""Metrics: each gives one number for one case, and says which mask was empty; never an average.

    case = Case(prediction, reference, spacing_mm=(1, 1, 3))
    score(case, ["dice", "hd95", "nsd(tolerance_mm=2)"])

For empty masks each metric has a table of values (`Metric.empty`), so that no case is left out silently and no missed
case gets the best distance, 0.
"""

# Importing these modules registers their metrics; tables show them in this order.
# isort: off
from lesionloss.metrics import voxel_overlap, lesion_volume, surface, lesion_detection, calibration, ranked_voxels, froc

# isort: on
from lesionloss.metrics.case import Case, CaseStatus, VoxelCounts
from lesionloss.metrics.froc import froc_curve
from lesionloss.metrics.lesion_table import LesionRow, detection_by_size, lesion_table
from lesionloss.metrics.metric_registry import (
    Better,
    ChosenMetric,
    EmptyValues,
    Metric,
    RequiredMap,
    choose,
    list_metrics,
    metric,
    penalised,
    score,
)
from lesionloss.metrics.several_classes import ClassMean, class_cases, mdice, miou, score_classes
from lesionloss.metrics.thresholds import is_lesion

__all__ = [
    "Better",
    "Case",
    "CaseStatus",
    "ChosenMetric",
    "ClassMean",
    "EmptyValues",
    "LesionRow",
    "Metric",
    "RequiredMap",
    "VoxelCounts",
    "calibration",
    "choose",
    "class_cases",
    "detection_by_size",
    "froc",
    "froc_curve",
    "is_lesion",
    "lesion_detection",
    "lesion_table",
    "lesion_volume",
    "list_metrics",
    "mdice",
    "metric",
    "miou",
    "penalised",
    "ranked_voxels",
    "score",
    "score_classes",
    "surface",
    "voxel_overlap",
]
