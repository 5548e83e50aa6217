"""A case with its maps as the viewer in the page takes it: whole volumes in 8 bits, deflated, in base64.

Counts in the browser equal those of `metrics.thresholds` for every threshold of the slider: levels below it are set to
0, so that the noise of a network near 0 need not be stored, and all others are kept as they are.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.report.case_views import Views
from lesionloss.report.probability_maps import Lesions, Levels, lowest_level
from lesionloss.runs.results import RunTrial

LOWEST_THRESHOLD = 0.05
IMAGE_BYTES = 520_000  # of both visits after compression, so that a case stays near 1 MB in base64
SHADES = (64, 40, 24)  # tried in this order; then every second pixel
IGNORED = 255  # in the labels: neither lesion nor background
MOST_LESIONS = 254
EFFORT = 9


@dataclass(frozen=True)
class Volume:
    """What the page needs to know of a case (`facts`, for JSON) and its arrays in base64, by name."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, str]

    @property
    def size(self) -> int:
        """Letters in the page."""
        return sum(map(len, self.arrays.values()))


def volume(
    views: Views,
    lesions: Lesions,
    maps: Sequence[tuple[RunTrial, Levels]],
    decided: Mapping[str, float | None],
    metric: str,
) -> Volume:
    """Pack a case. `maps` are upright, of one trial per loss; `decided`: the stored values of the metric named
    `metric`, by trial key."""
    images, shades, step = _packed_images(views)
    arrays = {f"image{n}": text for n, text in enumerate(images)}
    labels = np.minimum(lesions.labels, MOST_LESIONS).astype(np.uint8)
    labels[(lesions.labels == 0) & views.reference] = MOST_LESIONS  # lesion, though too small to be counted as one
    labels[views.counted == 2] = IGNORED
    arrays["labels"] = _packed(labels)
    floor = lowest_level(LOWEST_THRESHOLD)
    for n, (_, levels) in enumerate(maps):
        arrays[f"map{n}"] = _packed(np.where((levels >= floor) & (views.counted != 2), levels, 0).astype(np.uint8))
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
        "losses": [
            {
                "loss": trial.loss,
                "seed": trial.seed,
                "threshold": float(trial.record.get("threshold", 0.5)),
                "stored": decided.get(trial.key),
            }
            for trial, _ in maps
        ],
        "lesions": _lesions(lesions, views),
    }
    return Volume(facts, arrays)


def _lesions(lesions: Lesions, views: Views) -> list[dict[str, Any]]:
    voxel_mm3 = float(np.prod(views.spacing_mm))
    return [
        {"number": n + 1, "mm3": round(float(voxels) * voxel_mm3, 2), "centre": [round(float(c), 1) for c in centre]}
        for n, (voxels, centre) in enumerate(zip(lesions.voxels, lesions.centres, strict=True))
    ][: MOST_LESIONS - 1]


def _packed_images(views: Views) -> tuple[list[str], int, int]:
    """Images in as many shades of grey as fit, and at half the pixels where nothing else helps."""
    for step, shades in ((1, SHADES[0]), (1, SHADES[1]), (1, SHADES[2]), (2, SHADES[0]), (2, SHADES[2])):
        packed = [_packed(_shaded(image, views, shades)[:, ::step, ::step]) for _, image in views.images]
        if sum(map(len, packed)) * 3 // 4 <= IMAGE_BYTES:
            break
    return packed, shades, step


def _shaded(image: NDArray[np.float32], views: Views, shades: int) -> NDArray[np.uint8]:
    low, high = views.window
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    shown = 1 + np.rint(scaled * (shades - 2)).astype(np.uint8)
    return np.where(views.brain, shown, 0).astype(np.uint8) if views.brain.any() else shown


def _packed(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), EFFORT)).decode("ascii")
