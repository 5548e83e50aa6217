"""Every case as small pictures: a close-up of the largest lesion with the mask of each loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.drawing import webp_data
from lesionloss.core.slice_pictures import close_up, fullest_slice, grey, overlay, with_reference
from lesionloss.report.case_views import CaseViews

TILE_MM = 44.0
TILE_PIXELS = 104


@dataclass(frozen=True)
class LossMask:
    """The labels (planes, rows, columns) that one trial was scored by; 1 for lesion in a run of one class."""

    loss: str
    seed: int
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class CaseMosaic:
    """A case in small pictures; `tiles`: title and address of each. `plane` counts from 1, from the feet."""

    case: str
    plane: int
    tiles: tuple[tuple[str, str], ...]


def mosaic(views: CaseViews, masks: Sequence[LossMask]) -> CaseMosaic:
    """The plane with most lesion, or with most false positives in a case without lesions."""
    predicted = np.any([each.labels > 0 for each in masks], axis=0) & views.brain
    centred = views.reference if views.reference.any() else predicted
    plane = fullest_slice(centred)
    reference = views.labels[plane]
    extent = views.counted.shape[1] * views.plane_mm[0]
    size_mm = extent if views.flat else TILE_MM
    field = close_up(centred[plane], views.plane_mm, size_mm)
    pixel_mm = size_mm / TILE_PIXELS
    background = grey(np.where(views.brain, views.images[-1][1], views.window[0])[plane], field, views.window, pixel_mm)
    tiles = [
        (views.images[-1][0], background),
        ("Reference", with_reference(background, reference > 0, field, pixel_mm)),
    ]
    tiles += [(each.loss, overlay(background, each.labels[plane], reference, field, pixel_mm)) for each in masks]
    return CaseMosaic(views.case, plane + 1, tuple((title, webp_data(pixels)) for title, pixels in tiles))
