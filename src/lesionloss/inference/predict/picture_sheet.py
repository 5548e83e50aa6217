"""The picture sheet of a prediction: a row for each slice with the largest lesions, as a radiologist looks at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.drawing import PNG_DPI, drawing_style
from lesionloss.core.files import atomic_file
from lesionloss.core.number_text import listed
from lesionloss.core.palette import FALSE_NEGATIVE, FALSE_POSITIVE, INK, MUTED, TRUE_POSITIVE
from lesionloss.core.slice_pictures import (
    CLOSE_PIXEL_MM,
    CLOSE_UP_MM,
    WHOLE_PIXEL_MM,
    WINDOW_PERCENT,
    Field,
    Pixels,
    around,
    close_up,
    framed,
    grey,
    overlay,
    plane_spacing_mm,
    radiological,
)
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.masks import numbered_lesions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

ROWS = 4
COLUMN_INCHES, ROW_INCHES, HEAD_INCHES, FOOT_INCHES = 1.55, 1.75, 0.75, 0.55
REMARK_INCHES = 0.15
PROBABILITY_COLOURS = "magma"
SCALE_MM = 10.0
COMPRESSION = 3  # of 9; the highest level takes seconds for a few per cent


@dataclass(frozen=True, eq=False)
class SheetContent:
    """What a sheet shows, on the case's own grid: class numbers, probability, and the reference where it is known.

    `remarks` say what is implausible, a line each.
    """

    case: PreparedCase
    mask: NDArray[np.uint8]
    probability: NDArray[np.float32]
    title: str
    subtitle: str
    has_reference: bool
    connectivity: int = 6
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _SheetRow:
    """A slice (from the feet), the lesion in its middle (0: none) and what is written beside it."""

    height: int
    lesion: int
    words: str


def save_sheet(path: Path, content: SheetContent) -> None:
    """Draw the sheet as a PNG file, which is written completely or not at all."""
    with drawing_style(), atomic_file(path) as temporary:
        sheet_figure(content).savefig(
            temporary, format="png", dpi=PNG_DPI, facecolor="white", pil_kwargs={"compress_level": COMPRESSION}
        )


def sheet_figure(content: SheetContent) -> "Figure":
    """One row for each of the slices with the largest lesions; the slice of the highest p where there is no lesion."""
    from matplotlib.figure import Figure

    views = _views(content)
    rows = _rows(views, content)
    visits = [str(key) for key in ("baseline", "followup") if key in views]
    columns = 2 * len(visits) + 2
    head = HEAD_INCHES + REMARK_INCHES * len(content.remarks)
    height = head + ROW_INCHES * len(rows) + FOOT_INCHES
    figure = Figure(figsize=(COLUMN_INCHES * columns, height))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(
        left=0.035, right=0.995, bottom=FOOT_INCHES / height, top=1 - head / height, wspace=0.04, hspace=0.06
    )
    for line, row in zip(axes, rows, strict=True):
        _draw_row(line, row, views, visits, content)
    _write_heads(figure, axes[0], visits)
    figure.text(0.035, 1 - 0.16 / height, content.title, size=9, color=INK, weight="bold", va="top")
    figure.text(0.035, 1 - 0.34 / height, content.subtitle, size=6.5, color=MUTED, va="top")
    for line, remark in enumerate(content.remarks, 1):
        place = 1 - (0.34 + REMARK_INCHES * line) / height
        figure.text(0.035, place, remark, size=6.5, color=FALSE_POSITIVE, va="top", parse_math=False)
    _explain(figure, axes[-1, -1], content.has_reference, height)
    return figure


def _views(content: SheetContent) -> dict[str, NDArray[Any]]:
    """Arrays seen from the feet, with slices first."""
    case = content.case
    first = [name for name in case.channels if name.startswith("followup")] or [case.channels[-1]]
    arrays: dict[str, NDArray[Any]] = {
        "followup": case.image[case.channels.index(first[0])],
        "mask": content.mask > 0,
        "numbers": numbered_lesions(content.mask > 0, content.connectivity),
        "probability": content.probability,
        "reference": case.lesion if content.has_reference else content.mask > 0,
        "brain": case.brain,
    }
    earlier = [index for index, name in enumerate(case.channels) if name.startswith("baseline")]
    if earlier:
        arrays["baseline"] = case.image[earlier[0]]
    return {
        key: radiological(array if array.ndim == 3 else array[..., None], case.affine) for key, array in arrays.items()
    }


def _rows(views: dict[str, NDArray[Any]], content: SheetContent) -> list[_SheetRow]:
    numbers, probability = views["numbers"], views["probability"]
    voxel_mm3 = float(np.prod(content.case.spacing_mm))
    rows: list[_SheetRow] = []
    for height, (lesion, *others) in list(_lesions_by_slice(numbers).items())[:ROWS]:
        inside = numbers == lesion
        also = f" (also {listed(str(other) for other in others)})" if others else ""
        words = f"lesion {lesion}{also}: {inside.sum() * voxel_mm3:.0f} mm³, p {probability[inside].mean():.2f}"
        rows.append(_SheetRow(height, lesion, f"slice {height + 1} · {words}"))
    if rows:
        return rows
    height = int(probability.max(axis=(1, 2)).argmax()) if probability.any() else len(probability) // 2
    return [_SheetRow(height, 0, f"slice {height + 1} · no lesion; highest p {float(probability.max()):.2f}")]


def _lesions_by_slice(numbers: NDArray[np.integer[Any]]) -> dict[int, list[int]]:
    """Slices that hold the largest part of a lesion, with the numbers of those lesions, the largest lesion first."""
    lesions = int(numbers.max())
    voxels = np.array([np.bincount(plane.ravel(), minlength=lesions + 1) for plane in numbers])
    found: dict[int, list[int]] = {}
    for lesion, height in enumerate(voxels.argmax(axis=0)[1:], 1):
        found.setdefault(int(height), []).append(lesion)
    return found


def _draw_row(
    line: "Sequence[Axes]", row: _SheetRow, views: dict[str, NDArray[Any]], visits: list[str], content: SheetContent
) -> None:
    planes = {key: view[row.height] for key, view in views.items()}
    brain = planes["brain"]
    mm = plane_spacing_mm(content.case.affine)
    middle = planes["numbers"] == row.lesion if row.lesion else planes["probability"] >= planes["probability"].max()
    whole, close = (
        around(np.asarray(views["brain"].any(axis=0), dtype=np.bool_), mm),
        close_up(middle & (brain | (row.lesion > 0)), mm, CLOSE_UP_MM),
    )
    windows = {key: _window(views[key], views["brain"]) for key in visits}
    shown_planes = {key: np.where(brain, planes[key], windows[key][0]) for key in visits}
    pictures: list[Pixels] = [grey(shown_planes[key], whole, windows[key], WHOLE_PIXEL_MM) for key in visits]
    pictures[-1] = framed(pictures[-1], whole, close, WHOLE_PIXEL_MM)
    near = [grey(shown_planes[key], close, windows[key], CLOSE_PIXEL_MM) for key in visits]
    marked = overlay(near[-1], planes["mask"], planes["reference"], close, CLOSE_PIXEL_MM)
    for axis, picture in zip(line, [*pictures, *near, marked], strict=False):
        axis.imshow(picture)
    _draw_probability(line[-1], planes["probability"], close)
    for axis in line:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    for axis in line[: len(visits)]:
        _write_sides(axis)
    _draw_scale(line[len(visits)], close)
    line[0].set_ylabel(row.words, size=5.6, color=INK, labelpad=3)


def _write_sides(axis: "Axes") -> None:
    """The patient's right is on the left."""
    for place, side in ((0.03, "R"), (0.97, "L")):
        align = "left" if side == "R" else "right"
        _on_picture(axis, place, 0.97, side, ha=align, va="top")


def _draw_scale(axis: "Axes", field: Field) -> None:
    """A bar of `SCALE_MM` in the lower left corner of a picture of `field`."""
    length = SCALE_MM / field.size_mm[1]
    axis.plot(
        (0.05, 0.05 + length), (0.05, 0.05), transform=axis.transAxes, color="white", linewidth=2,
        solid_capstyle="butt", path_effects=_edge(),
    )  # fmt: skip
    _on_picture(axis, 0.05, 0.075, f"{SCALE_MM:g} mm", ha="left", va="bottom")


def _on_picture(axis: "Axes", x: float, y: float, words: str, *, ha: str, va: str) -> None:
    axis.text(
        x, y, words, transform=axis.transAxes, color="white", size=6, ha=ha, va=va, path_effects=_edge()
    )  # fmt: skip


def _edge() -> "list[AbstractPathEffect]":
    """White on black, so that it can be read on any brain."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=3, foreground="black")]


def _window(view: NDArray[np.float32], brain: NDArray[np.bool_]) -> tuple[float, float]:
    inside = view[brain] if brain.any() else view.ravel()
    low, high = (float(level) for level in np.percentile(inside, WINDOW_PERCENT))
    return low, high


def _draw_probability(axis: "Axes", plane: NDArray[np.float32], field: Field) -> None:
    height, width = field.size_mm
    axis.imshow(
        field.of(plane), cmap=PROBABILITY_COLOURS, vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="nearest"
    )


def _write_heads(figure: "Figure", line: "Sequence[Axes]", visits: list[str]) -> None:
    """All at one height, whatever the shapes of the pictures."""
    names = {"baseline": "Baseline", "followup": "Follow-up" if len(visits) == 2 else "Image"}
    heads = [names[key] for key in visits]
    close = [f"{name}, close-up" for name in heads]
    found = "New lesions" if len(visits) == 2 else "Lesions"
    top = max(axis.get_position().y1 for axis in line)
    for axis, head in zip(line, [*heads, *close, found, "Probability"], strict=True):
        box = axis.get_position()
        figure.text((box.x0 + box.x1) / 2, top + 0.08 / figure.get_figheight(), head, size=7, color=INK, ha="center")


def _explain(figure: "Figure", last: "Axes", has_reference: bool, height: float) -> None:
    from matplotlib.patches import Patch

    keys = [Patch(facecolor=TRUE_POSITIVE, label="true positive" if has_reference else "predicted")]
    if has_reference:
        keys += [
            Patch(facecolor="white", edgecolor=FALSE_POSITIVE, hatch="//////", label="false positive"),
            Patch(facecolor=FALSE_NEGATIVE + "59", edgecolor=FALSE_NEGATIVE, linewidth=1.5, label="false negative"),
        ]
    place = (0.035, 0.16 / height)
    figure.legend(handles=keys, loc="lower left", bbox_to_anchor=place, ncols=3, fontsize=6.5, frameon=False)
    figure.text(0.035, 0.06 / height, "For research; not a medical device.", size=5.5, color=MUTED)
    box = last.get_position()
    bar = figure.add_axes((box.x0 + 0.05 * box.width, 0.34 / height, 0.9 * box.width, 0.07 / height))
    colours = figure.colorbar(last.images[0], cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    colours.ax.tick_params(labelsize=5.5, length=2, colors=MUTED)
