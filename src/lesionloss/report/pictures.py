"""One case in pictures: the same slice of the same patient for every loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.core.number_text import number
from lesionloss.core.palette import FALSE_POSITIVE, MISSED, REFERENCE, TRUE_POSITIVE
from lesionloss.core.slice_pictures import (
    CLOSE_PIXEL_MM,
    CLOSE_UP_MM,
    WHOLE_PIXEL_MM,
    Field,
    Pixels,
    around,
    close_up,
    framed,
    fullest_slice,
    grey,
    overlay,
    with_reference,
)
from lesionloss.report.case_views import Views, views_of
from lesionloss.report.probability_maps import fitted, level_map, lowest_level
from lesionloss.runs.results import Results, RunTrial
from lesionloss.runs.values import headline_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_PIXELS = 300


@dataclass(frozen=True)
class Tile:
    """A slice and its close-up, with a name and a note below; no pictures where the note says why."""

    name: str
    note: str
    whole: Pixels | None
    close: Pixels | None


@dataclass(frozen=True)
class CaseInPictures:
    """The median case: its number of the slice counted from the feet, tiles of visits and reference, and of losses."""

    case: str
    patient: str
    slice_number: int
    visits: tuple[Tile, ...]
    losses: tuple[Tile, ...]
    flat: bool = False


def median_case(results: Results, metric: str) -> str | None:
    """The case in the middle when cases are ordered by their mean over all losses and seeds; None without any value."""
    rows = headline_rows(results, metric)
    means = rows[np.isfinite(rows["penalised"])].groupby("case")["penalised"].mean()
    ordered = sorted((float(value), str(case)) for case, value in means.items())
    return ordered[(len(ordered) - 1) // 2][1] if ordered else None


def case_in_pictures(results: Results, metric: str) -> CaseInPictures | None:
    """Pictures of the median case; None where no case can be chosen. Raises DataError where its arrays are damaged."""
    name = median_case(results, metric)
    if name is None or name not in {case.name for case in results.cohort}:
        return None
    views = views_of(results, name)
    height = fullest_slice(views.reference)
    artist = _artist(views, height)
    losses = tuple(_loss_tile(results, artist, loss, views, metric, height) for loss in results.losses)
    return CaseInPictures(name, views.patient, height + 1, _visit_tiles(artist, views), losses, views.flat)


@dataclass(frozen=True)
class _Artist:
    """The planes of the slice, and how they are shown."""

    planes: Mapping[str, NDArray[Any]]
    window: tuple[float, float]
    whole: Field
    close: Field
    last: str
    pixels_mm: tuple[float, float]

    def background(self, key: str) -> tuple[Pixels, Pixels]:
        return (
            grey(self.planes[key], self.whole, self.window, self.pixels_mm[0]),
            grey(self.planes[key], self.close, self.window, self.pixels_mm[1]),
        )


def _artist(views: Views, height: int) -> _Artist:
    brain, reference, low = views.brain[height], views.reference[height], views.window[0]
    planes: dict[str, NDArray[Any]] = {title: image[height] for title, image in views.images}
    if brain.any():
        planes = {title: np.where(brain, plane, low) for title, plane in planes.items()}
    planes["reference"] = reference
    close = around(brain, views.plane_mm) if views.flat else close_up(reference, views.plane_mm, CLOSE_UP_MM)
    last = views.images[-1][0]
    pixels_mm = _pixels_mm(views, close)
    return _Artist(planes, views.window, around(brain, views.plane_mm), close, last, pixels_mm)


def _pixels_mm(views: Views, close: Field) -> tuple[float, float]:
    """What a pixel of the slice and of the close-up measures; pictures are drawn with about as many pixels."""
    if not views.flat:
        return WHOLE_PIXEL_MM, CLOSE_PIXEL_MM
    return (max(close.size_mm) / PICTURE_PIXELS,) * 2


def _visit_tiles(artist: _Artist, views: Views) -> tuple[Tile, ...]:
    notes = {"Baseline": "first visit", "Follow-up": "second visit, framed: close-up"}
    tiles = []
    for title, _ in views.images:
        whole, close = artist.background(title)
        if title == artist.last and not views.flat:
            whole = framed(whole, artist.whole, artist.close, artist.pixels_mm[0])
        tiles.append(Tile(title, notes.get(title, ""), whole, close))
    whole, close = artist.background(artist.last)
    reference = artist.planes["reference"]
    marked = Tile(
        "Reference",
        f"on the {artist.last.lower()}",
        with_reference(whole, reference, artist.whole, artist.pixels_mm[0]),
        with_reference(close, reference, artist.close, artist.pixels_mm[1]),
    )
    return (*tiles, marked)


def _loss_tile(results: Results, artist: _Artist, loss: str, views: Views, metric: str, height: int) -> Tile:
    trial = _trial_of(results, loss, views.case)
    if trial is None:
        return Tile(loss, "no trained network for this case", None, None)
    try:
        levels = fitted(level_map(trial, views.case), views.space)
    except DataError:
        return Tile(loss, "its prediction was not kept or is damaged", None, None)
    level = lowest_level(float(trial.record.get("threshold", 0.5)))
    prediction = views.turned(levels >= level)[height]
    reference = artist.planes["reference"]
    whole, close = artist.background(artist.last)
    return Tile(
        loss,
        _score(results, trial, views.case, metric),
        overlay(whole, prediction, reference, artist.whole, artist.pixels_mm[0]),
        overlay(close, prediction, reference, artist.close, artist.pixels_mm[1]),
    )


def _trial_of(results: Results, loss: str, case: str) -> RunTrial | None:
    """The trial of the lowest seed that was tested on the case."""
    tested = [t for t in results.trials if t.loss == loss and case in t.record.get("test", [])]
    return min(tested, key=lambda trial: trial.seed, default=None)


def _score(results: Results, trial: RunTrial, case: str, metric: str) -> str:
    rows = headline_rows(results, metric)
    values = rows.loc[(rows["key"] == trial.key) & (rows["case"] == case), "value"]
    seed = f", seed {trial.seed}" if trial.method == "network" else ""
    value = float(values.iloc[0]) if len(values) else float("nan")
    shown = number(value) if np.isfinite(value) else "infinite" if np.isinf(value) else "undefined"
    return f"{metric} {shown}{seed}"


def pictures_figure(pictures: CaseInPictures) -> "Figure":
    """The tiles as one figure for a paper: slices above, close-ups below, sides and colours explained."""
    from matplotlib.figure import Figure

    tiles = [tile for tile in (*pictures.visits, *pictures.losses) if tile.whole is not None and tile.close is not None]
    figure = Figure(figsize=(1.7 * len(tiles), 4.6))
    axes = figure.subplots(2, len(tiles), squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.12, top=0.91, wspace=0.04, hspace=0.03)
    for column, tile in enumerate(tiles):
        for row, pixels in enumerate((tile.whole, tile.close)):
            axes[row, column].imshow(np.asarray(pixels))
            axes[row, column].set_axis_off()
        for place, side in ((0.03, "R"), (0.97, "L")):
            across = axes[0, column].transAxes
            align = "left" if side == "R" else "right"
            axes[0, column].text(place, 0.5, side, transform=across, color="white", size=7, ha=align, va="center")
        axes[0, column].set_title(_broken(tile.name), size=7)
        axes[1, column].text(0.5, -0.03, tile.note, transform=axes[1, column].transAxes, size=6, ha="center", va="top")
    _explain_colours(figure)
    return figure


def _explain_colours(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    keys = [
        Patch(facecolor=TRUE_POSITIVE, label="found (true positive)"),
        Patch(facecolor="white", edgecolor=FALSE_POSITIVE, hatch="//////", label="false alarm (false positive)"),
        Patch(facecolor=MISSED + "59", edgecolor=MISSED, linewidth=1.5, label="missed (false negative)"),
        Patch(facecolor=REFERENCE, label="reference"),
    ]
    figure.legend(handles=keys, loc="lower center", ncols=len(keys), fontsize=7, frameon=False)


def _broken(name: str) -> str:
    return name.replace(" + ", "\n+ ")
