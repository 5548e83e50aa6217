"""Cases that are not embedded whole: a close-up of the largest lesion, as each loss marks it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.core.slice_pictures import Pixels, close_up, fullest_slice, grey, overlay, with_reference
from lesionloss.report.case_views import Views
from lesionloss.report.probability_maps import Levels, lowest_level
from lesionloss.runs.results import RunTrial

TILE_MM = 44.0
TILE_PIXELS = 104
QUALITY = 78


@dataclass(frozen=True)
class Mosaic:
    """A case in small pictures; `tiles`: title and address of each. `plane` counts from 1, from the feet."""

    case: str
    plane: int
    tiles: tuple[tuple[str, str], ...]


def mosaic(views: Views, maps: Sequence[tuple[RunTrial, Levels]]) -> Mosaic:
    """The plane with most lesion, or with most false alarm where there is none; `maps` are upright."""
    masks = [(trial.loss, levels >= _level(trial)) for trial, levels in maps]
    wanted = views.reference if views.reference.any() else np.any([m for _, m in masks], axis=0) & views.brain
    plane = fullest_slice(wanted)
    reference = views.reference[plane]
    extent = views.counted.shape[1] * views.plane_mm[0]
    size_mm = extent if views.flat else TILE_MM
    field = close_up(wanted[plane], views.plane_mm, size_mm)
    pixel_mm = size_mm / TILE_PIXELS
    background = grey(np.where(views.brain, views.images[-1][1], views.window[0])[plane], field, views.window, pixel_mm)
    tiles = [(views.images[-1][0], background), ("Reference", with_reference(background, reference, field, pixel_mm))]
    tiles += [(loss, overlay(background, mask[plane], reference, field, pixel_mm)) for loss, mask in masks]
    return Mosaic(views.case, plane + 1, tuple((title, _address(pixels)) for title, pixels in tiles))


def _level(trial: RunTrial) -> int:
    return lowest_level(float(trial.record.get("threshold", 0.5)))


def _address(pixels: Pixels) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="webp", quality=QUALITY, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
