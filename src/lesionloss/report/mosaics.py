"""Every case as small pictures: a close-up of the largest lesion with the mask of each loss."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.slice_pictures import Pixels, close_up, fullest_slice, grey, overlay, with_reference
from lesionloss.report.case_views import CaseViews

TILE_MM = 44.0
TILE_PIXELS = 104
QUALITY = 78


@dataclass(frozen=True)
class LossMask:
    """The mask (planes, rows, columns) that one trial was scored by."""

    loss: str
    seed: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class CaseMosaic:
    """A case in small pictures; `tiles`: title and address of each. `plane` counts from 1, from the feet."""

    case: str
    plane: int
    tiles: tuple[tuple[str, str], ...]


def mosaic(views: CaseViews, masks: Sequence[LossMask]) -> CaseMosaic:
    """The plane with most lesion, or with most false positives in a case without lesions."""
    predicted = np.any([each.mask for each in masks], axis=0) & views.brain
    centred = views.reference if views.reference.any() else predicted
    plane = fullest_slice(centred)
    reference = views.reference[plane]
    extent = views.counted.shape[1] * views.plane_mm[0]
    size_mm = extent if views.flat else TILE_MM
    field = close_up(centred[plane], views.plane_mm, size_mm)
    pixel_mm = size_mm / TILE_PIXELS
    background = grey(np.where(views.brain, views.images[-1][1], views.window[0])[plane], field, views.window, pixel_mm)
    tiles = [(views.images[-1][0], background), ("Reference", with_reference(background, reference, field, pixel_mm))]
    tiles += [(each.loss, overlay(background, each.mask[plane], reference, field, pixel_mm)) for each in masks]
    return CaseMosaic(views.case, plane + 1, tuple((title, _address(pixels)) for title, pixels in tiles))


def _address(pixels: Pixels) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="webp", quality=QUALITY, method=3)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
