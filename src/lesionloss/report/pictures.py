"""The median case in pictures: the same slice of the same patient for every loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.core.number_text import number
from lesionloss.core.palette import FALSE_NEGATIVE, FALSE_POSITIVE, REFERENCE, TRUE_POSITIVE
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
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.report.case_views import CaseViews, views_of
from lesionloss.report.probability_maps import first_seeds, probability_map
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_PIXELS = 300


@dataclass(frozen=True)
class PictureTile:
    """A slice and its close-up, with a name and a note; without pictures, the note says why."""

    name: str
    note: str
    whole: Pixels | None
    close: Pixels | None


@dataclass(frozen=True)
class CaseInPictures:
    """The median case: its slice, counted from the feet, tiles of visits and reference, and tiles of losses."""

    case: str
    patient: str
    slice_number: int
    visits: tuple[PictureTile, ...]
    losses: tuple[PictureTile, ...]
    flat: bool = False


def median_case(scores: MetricScores) -> str | None:
    """The median case, ordered by the mean over all losses and seeds; None without any value."""
    ordered = sorted((value, case) for case, value in scores.case_means.items())
    return ordered[(len(ordered) - 1) // 2][1] if ordered else None


def case_in_pictures(results: Results, scores: MetricScores) -> CaseInPictures | None:
    """Pictures of the median case; None if there is no such case.

    Args:
        results: The run.
        scores: Those of the metric that chooses the case.

    Raises:
        DataError: The file of the case is damaged.
    """
    name = median_case(scores)
    if name is None or name not in {case.name for case in results.cohort}:
        return None
    views = views_of(results, name)
    plane = fullest_slice(views.reference)
    shown = _shown_slice(views, plane)
    trials = {trial.loss: trial for trial in first_seeds([t for t in results.trials if t.tested(name)])}
    losses = tuple(_loss_tile(shown, loss, trials.get(loss), views, scores, plane) for loss in results.losses)
    return CaseInPictures(name, views.patient, plane + 1, _visit_tiles(shown, views), losses, views.flat)


@dataclass(frozen=True)
class _ShownSlice:
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


def _shown_slice(views: CaseViews, plane: int) -> _ShownSlice:
    brain, reference, low = views.brain[plane], views.reference[plane], views.window[0]
    planes: dict[str, NDArray[Any]] = {title: image[plane] for title, image in views.images}
    if brain.any():
        planes = {title: np.where(brain, pixels, low) for title, pixels in planes.items()}
    planes["reference"] = reference
    close = around(brain, views.plane_mm) if views.flat else close_up(reference, views.plane_mm, CLOSE_UP_MM)
    last = views.images[-1][0]
    pixels_mm = _pixels_mm(views, close)
    return _ShownSlice(planes, views.window, around(brain, views.plane_mm), close, last, pixels_mm)


def _pixels_mm(views: CaseViews, close: Field) -> tuple[float, float]:
    """The size of a pixel of the slice and of the close-up; a two-dimensional picture keeps about its own pixels."""
    if not views.flat:
        return WHOLE_PIXEL_MM, CLOSE_PIXEL_MM
    return (max(close.size_mm) / PICTURE_PIXELS,) * 2


def _visit_tiles(shown: _ShownSlice, views: CaseViews) -> tuple[PictureTile, ...]:
    notes = {"Baseline": "first visit", "Follow-up": "second visit, framed: close-up"}
    tiles = []
    for title, _ in views.images:
        whole, close = shown.background(title)
        if title == shown.last and not views.flat:
            whole = framed(whole, shown.whole, shown.close, shown.pixels_mm[0])
        tiles.append(PictureTile(title, notes.get(title, ""), whole, close))
    whole, close = shown.background(shown.last)
    reference = shown.planes["reference"]
    marked = PictureTile(
        "Reference",
        f"on the {shown.last.lower()}",
        with_reference(whole, reference, shown.whole, shown.pixels_mm[0]),
        with_reference(close, reference, shown.close, shown.pixels_mm[1]),
    )
    return (*tiles, marked)


def _loss_tile(
    shown: _ShownSlice, loss: str, trial: RunTrial | None, views: CaseViews, scores: MetricScores, plane: int
) -> PictureTile:
    if trial is None:
        return PictureTile(loss, "no trained network for this case", None, None)
    try:
        probability = probability_map(trial, views.case, views.space)
    except DataError:
        return PictureTile(loss, "its prediction was not kept or is damaged", None, None)
    prediction = views.turned(is_lesion(probability, trial.threshold))[plane]
    reference = shown.planes["reference"]
    whole, close = shown.background(shown.last)
    return PictureTile(
        loss,
        _score(trial, views.case, scores),
        overlay(whole, prediction, reference, shown.whole, shown.pixels_mm[0]),
        overlay(close, prediction, reference, shown.close, shown.pixels_mm[1]),
    )


def _score(trial: RunTrial, case: str, scores: MetricScores) -> str:
    seed = f", seed {trial.seed}" if trial.loss not in scores.untrained else ""
    value = scores.value(trial.key, case)
    text = number(value) if np.isfinite(value) else "infinite" if np.isinf(value) else "undefined"
    return f"{scores.metric} {text}{seed}"


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
        Patch(facecolor=TRUE_POSITIVE, label="true positive"),
        Patch(facecolor="white", edgecolor=FALSE_POSITIVE, hatch="//////", label="false positive"),
        Patch(facecolor=FALSE_NEGATIVE + "59", edgecolor=FALSE_NEGATIVE, linewidth=1.5, label="false negative"),
        Patch(facecolor=REFERENCE, label="reference"),
    ]
    figure.legend(handles=keys, loc="lower center", ncols=len(keys), fontsize=7, frameon=False)


def _broken(name: str) -> str:
    return name.replace(" + ", "\n+ ")
