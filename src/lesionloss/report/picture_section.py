"""The figures of the chosen cases: their files, and the pictures that the page shows."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.drawing import png_data, webp_data
from lesionloss.report.case_slices import CaseSlice
from lesionloss.report.class_pictures import class_figure, class_words
from lesionloss.report.figure_files import FigureFolder
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.pictures import (
    PictureTile,
    case_figure,
    case_words,
    cases_figure,
    cases_words,
    image_tiles,
    loss_tiles,
)
from lesionloss.report.probability_pictures import probability_figure, probability_words
from lesionloss.report.report_content import ReportContent
from lesionloss.report.topk_pictures import (
    can_rank,
    curve_words,
    hardest_curves,
    hardest_figure,
    hardest_words,
    left_out_figure,
    left_out_words,
    run_k,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE_DPI = 150


@dataclass(frozen=True)
class PageTile:
    """A tile with its pictures as addresses; `heat` is empty without probabilities."""

    name: str
    note: str
    pictures: tuple[str, ...]
    heat: str


@dataclass(frozen=True)
class CaseFigure:
    """A figure of chosen cases: the name of its files, its title and its caption."""

    name: str
    title: str
    caption: str
    figure: "Figure"


@dataclass(frozen=True)
class PageFigure:
    """A figure in a folded part of the page; `image` is its address."""

    name: str
    title: str
    caption: str
    image: str


def picture_section(
    content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> dict[str, object] | None:
    """Write the figures of the chosen cases; return the median case as tiles, and the others for folded parts."""
    slices = {shown.role: shown for shown in content.case_maps.slices}
    if not slices:
        return None
    for role, shown in slices.items():
        if role != "best":
            figures.save(case_figure(shown), f"case-{role}")
    folded = []
    for each in _folded(content, styles, slices):
        figures.save(each.figure, each.name)
        folded.append(PageFigure(each.name, each.title, each.caption, _image(each.figure)))
    shown = slices.get("median", next(iter(slices.values())))
    tiles = [[_page_tile(tile) for tile in group] for group in (image_tiles(shown), loss_tiles(shown))]
    return {
        "caption": case_words(shown),
        "flat": shown.flat,
        "frames": [frame.name for frame in shown.frames],
        "groups": tiles,
        "files": [f"case-{role}" for role in slices if role != "best"],
        "folded": folded,
        "unranked": bool(shown.reference.any()) and not can_rank(shown),
    }


def _folded(
    content: ReportContent, styles: Mapping[str, LossStyle], slices: Mapping[str, CaseSlice]
) -> Iterator[CaseFigure]:
    every, shown = list(slices.values()), slices.get("median", next(iter(slices.values())))
    if len(every) > 1:
        title = f"{', '.join(slices).capitalize()} case side by side"
        yield CaseFigure("cases", title, cases_words(every), cases_figure(every))
    if any(each.trained for each in shown.losses):
        yield CaseFigure("case-probabilities", "Probability maps", probability_words(shown), probability_figure(shown))
    if shown.several and shown.losses:
        yield CaseFigure("case-classes", "Classes and their errors", class_words(shown), class_figure(shown))
    if can_rank(shown):
        k = run_k(content.cards)
        title = f"What top-k Dice leaves out (k = {k:g} %)"
        yield CaseFigure("case-left-out", title, left_out_words(shown, k), left_out_figure(shown, k))
        title = "Dice over the hardest lesion voxels"
        yield CaseFigure("case-hardest", title, hardest_words(shown), hardest_figure(shown))
        curves = hardest_curves(shown, styles)
        yield CaseFigure("case-hardest-curves", f"{title}, as curves", curve_words(shown), curves)


def _page_tile(tile: PictureTile) -> PageTile:
    heat = "" if tile.heat is None else webp_data(tile.heat)
    return PageTile(tile.name, tile.note, tuple(map(png_data, tile.pictures)), heat)


def _image(figure: "Figure") -> str:
    """The figure as a WebP picture, on white."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PAGE_DPI, facecolor="white", pil_kwargs={"compress_level": 0})
    with Image.open(buffer) as picture:
        return webp_data(np.asarray(picture.convert("RGB")))
