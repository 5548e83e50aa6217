"""A case for the viewer in the page: whole volumes in 8 bits, deflated, in base64.

A map is kept as levels: how many of the viewer's thresholds a voxel reaches. The thresholds are the steps of the slider
and every threshold that the run was scored at. So the mask that the viewer shows at each of them, and the counts, are
those of the float map.
"""

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.metrics.thresholds import is_lesion
from lesionloss.report.case_views import CaseViews
from lesionloss.report.probability_maps import Probability, ReferenceLesions, threshold_levels
from lesionloss.runs.run_records import RunTrial

SLIDER_THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(5, 96))
IMAGE_BYTES = 520_000  # of both visits after compression, so that a case stays near 1 MB in base64
SHADES = (64, 40, 24)  # tried in this order; then every second pixel
IGNORED = 255  # in the labels: neither lesion nor background
MOST_LESIONS = 254
EFFORT = 9


@dataclass(frozen=True)
class ViewerVolume:
    """A case in the viewer: its `facts`, for JSON, and its arrays in base64, by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, str]


@dataclass(frozen=True)
class LossLevels:
    """The map of one loss in threshold levels (planes, rows, columns), with its score in the benchmark.

    `probable`: whether these are probabilities of a network, not a mask.
    """

    loss: str
    seed: int
    threshold: float
    score: float | None
    probable: bool
    levels: NDArray[np.uint8]


def viewer_thresholds(scored: Iterable[float]) -> tuple[float, ...]:
    """The thresholds of the slider: .05 to .95 in steps of .01, and those that the run was scored at."""
    return tuple(sorted({*SLIDER_THRESHOLDS, *scored}))


def loss_levels(
    trial: RunTrial, probability: Probability, thresholds: Sequence[float], score: float | None, *, probable: bool
) -> LossLevels:
    """The levels of a map (planes, rows, columns); `score` is the stored value of the page's first metric."""
    lit = is_lesion(probability, thresholds[0])
    levels = np.zeros(probability.shape, dtype=np.uint8)
    levels[lit] = threshold_levels(probability[lit], thresholds)
    return LossLevels(trial.loss, trial.seed, trial.threshold, score, probable, levels)


def viewer_volume(
    views: CaseViews,
    lesions: ReferenceLesions,
    maps: Sequence[LossLevels],
    thresholds: Sequence[float],
    metric: str,
) -> ViewerVolume:
    """Pack a case.

    Args:
        views: The case as it is shown.
        lesions: The lesions of its reference, on the grid of `views`.
        maps: The levels of one trial per loss.
        thresholds: Those that the levels count.
        metric: The title of the metric whose scores are shown.
    """
    images, shades, step = _packed_images(views)
    arrays = {f"image{n}": text for n, text in enumerate(images)}
    labels = np.minimum(lesions.labels, MOST_LESIONS).astype(np.uint8)
    labels[(lesions.labels == 0) & views.reference] = MOST_LESIONS  # lesion, though too small to be counted as one
    labels[views.counted == 2] = IGNORED
    arrays["labels"] = _packed(labels)
    for n, each in enumerate(maps):
        arrays[f"map{n}"] = _packed(np.where(views.counted != 2, each.levels, 0).astype(np.uint8))
    facts = {
        "case": views.case,
        "metric": metric,
        "patient": views.patient,
        "shape": list(views.counted.shape),
        "spacing_mm": [round(mm, 4) for mm in views.spacing_mm],
        "flat": views.flat,
        "images": [title for title, _ in views.images],
        "shades": shades,
        "step": step,
        "thresholds": list(thresholds),
        "losses": [
            {
                "loss": each.loss,
                "seed": each.seed,
                "threshold": each.threshold,
                "stored": each.score,
                "probable": each.probable,
            }
            for each in maps
        ],
        "lesions": _lesions(lesions, views),
    }
    return ViewerVolume(facts, arrays)


def _lesions(lesions: ReferenceLesions, views: CaseViews) -> list[dict[str, Any]]:
    voxel_mm3 = float(np.prod(views.spacing_mm))
    return [
        {"number": n + 1, "mm3": round(float(voxels) * voxel_mm3, 2), "centre": [round(float(c), 1) for c in centre]}
        for n, (voxels, centre) in enumerate(zip(lesions.voxels, lesions.centres, strict=True))
    ][: MOST_LESIONS - 1]


def _packed_images(views: CaseViews) -> tuple[list[str], int, int]:
    """Images in as many shades of grey as fit, and at half the pixels where nothing else helps."""
    for step, shades in ((1, SHADES[0]), (1, SHADES[1]), (1, SHADES[2]), (2, SHADES[0]), (2, SHADES[2])):
        packed = [_packed(_shaded(image, views, shades)[:, ::step, ::step]) for _, image in views.images]
        if sum(map(len, packed)) * 3 // 4 <= IMAGE_BYTES:
            break
    return packed, shades, step


def _shaded(image: NDArray[np.float32], views: CaseViews, shades: int) -> NDArray[np.uint8]:
    low, high = views.window
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    shown = 1 + np.rint(scaled * (shades - 2)).astype(np.uint8)
    return np.where(views.brain, shown, 0).astype(np.uint8) if views.brain.any() else shown


def _packed(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), EFFORT)).decode("ascii")
