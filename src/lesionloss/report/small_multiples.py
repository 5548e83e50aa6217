"""Small multiples: one small chart per loss, all on the same axes, to compare losses by eye.

Each painter draws into a rectangle of a figure: alone for the page, or in a sheet of all losses for a paper.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionloss.core.number_text import MINUS
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.losses.explain import GradientAnalysis
from lesionloss.metrics.thresholds import CurvePoint
from lesionloss.report.history import CurveBand
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.probability_maps import BINS, Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rectangle = tuple[float, float, float, float]  # left, bottom, width, height in inches
Painter = Callable[["Figure", Rectangle], None]

PANEL_INCHES = (3.05, 2.3)
COLUMNS = 4
FEW_VOXELS = 50  # the mark of a bin with fewer is hollow: its share is uncertain
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Width and dashes of the lines; the page explains them.
_SPLIT_LINES: dict[str, tuple[float, Any]] = {
    "train_patches": (1.2, (0, (1, 1.3))),
    "train_images": (1.2, (0, (5, 2))),
    "test": (2.2, "-"),
}
_INSIDE = (0.44, 0.42, 0.12, 0.12)  # left, bottom, right, top of a panel, in inches: room for numbers and titles


def alone(paint: Painter) -> "Figure":
    """A figure of one panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=PANEL_INCHES)
    paint(figure, (0.0, 0.0, *PANEL_INCHES))
    return figure


def sheet(painters: Sequence[tuple[str, Painter]]) -> "Figure":
    """All panels with their names, four in a row."""
    from matplotlib.figure import Figure

    columns, gap = min(COLUMNS, len(painters)), 0.22
    rows = math.ceil(len(painters) / columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * (height + gap)))
    for number, (name, paint) in enumerate(painters):
        left, bottom = number % columns * width, (rows - 1 - number // columns) * (height + gap)
        paint(figure, (left, bottom, width, height))
        total = figure.get_size_inches()
        figure.text((left + _INSIDE[0]) / total[0], (bottom + height + 0.02) / total[1], name, size=8.5, color=INK)
    return figure


def threshold_panel(curve: Sequence[CurvePoint], style: LossStyle, used: float) -> Painter:
    """Dice (bold), recall (dashed) and precision (dotted) over thresholds, means over cases."""

    def paint(figure: "Figure", place: Rectangle) -> None:
        axes = _axes(figure, place)
        at = [point.threshold for point in curve]
        axes.axvline(used, color=MUTED, linewidth=0.7)
        axes.plot(at, [point.dice for point in curve], color=style.colour, linewidth=2.2)
        axes.plot(at, [point.recall for point in curve], color=style.colour, linewidth=1.2, linestyle=(0, (5, 2)))
        axes.plot(at, [point.precision for point in curve], color=style.colour, linewidth=1.2, linestyle=(0, (1, 1.3)))
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xlabel("threshold")

    return paint


def reliability_panel(measured: Calibration, style: LossStyle) -> Painter:
    """Share of lesion over predicted probability, with the diagonal of perfect calibration; number of voxels below."""

    def paint(figure: "Figure", place: Rectangle) -> None:
        left, bottom, width, height = place
        share = 0.3 * (height - _INSIDE[1] - _INSIDE[3])
        axes = _axes(figure, (left, bottom + share, width, height - share))
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
        filled = measured.voxels > 0
        axes.plot(measured.probability[filled], measured.lesion[filled], color=style.colour, linewidth=1.4)
        for many, face in ((measured.voxels >= FEW_VOXELS, style.colour), (filled, "white")):
            chosen = filled & many if face != "white" else filled & (measured.voxels < FEW_VOXELS)
            places = (measured.probability[chosen], measured.lesion[chosen])
            axes.plot(*places, "o", color=style.colour, markerfacecolor=face, markersize=3.6)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.tick_params(labelbottom=False)
        below = _axes(figure, (left, bottom, width, share + _INSIDE[1] + _INSIDE[3] - 0.15))
        _histogram(below, measured, style)

    return paint


def _histogram(axes: "Axes", measured: Calibration, style: LossStyle) -> None:
    edges = np.linspace(0, 1, BINS + 1)
    axes.bar(edges[:-1], measured.voxels, width=1 / BINS, align="edge", color=style.colour, alpha=0.55, linewidth=0)
    axes.set_yscale("log")
    top = max(10.0, float(measured.voxels.max()) * 2)
    axes.set(xlim=(0, 1), ylim=(1, top), yticks=[1, 10 ** int(np.log10(top))])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(_power)
    axes.set_xlabel("predicted probability")


def gradient_panel(curve: GradientAnalysis, style: LossStyle) -> Painter:
    """The gradient of a loss on one voxel towards the reference: lesion (line) and background (dashed)."""

    def paint(figure: "Figure", place: Rectangle) -> None:
        axes = _axes(figure, place)
        axes.axhline(0, color=MUTED, linewidth=0.7)
        axes.plot(curve.probability, curve.lesion, color=style.colour, linewidth=2.0)
        axes.plot(curve.probability, curve.background, color=style.colour, linewidth=1.2, linestyle=(0, (5, 2)))
        axes.set_yscale("symlog", linthresh=1e-2)
        axes.yaxis.set_minor_locator(_none())
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(_few_powers(axes))
        axes.yaxis.set_major_formatter(_power)
        axes.set_xlabel("predicted probability of lesion")

    return paint


def _power(value: float, _place: float) -> str:
    """`1`, `10`, `10⁴`, `−10⁻²`: powers of ten as plain text."""
    if value == 0:
        return "0"
    power = round(math.log10(abs(value)))
    text = {0: "1", 1: "10"}.get(power, f"10{str(power).translate(_RAISED)}")
    return f"{MINUS}{text}" if value < 0 else text


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _few_powers(axes: "Axes") -> Any:
    from matplotlib.ticker import FixedLocator

    low, high = axes.get_ylim()
    powers = [10.0**power for power in range(-2, 7, 2)]
    ticks = [0.0, *powers, *(-power for power in powers)]
    return FixedLocator([tick for tick in ticks if low <= tick <= high])


def band_panel(
    bands: Sequence[CurveBand], style: LossStyle, what: str, limits: tuple[float, float] | None = None
) -> Painter:
    """Mean over training runs as a line, with the range from lowest to highest; each split has its own dashes.

    `limits`: of the vertical axis, the same for all losses if they can be compared.
    """

    def paint(figure: "Figure", place: Rectangle) -> None:
        axes = _axes(figure, place)
        for each in bands:
            width, dashes = _SPLIT_LINES.get(each.split, (1.6, "-"))
            axes.fill_between(each.place, each.low, each.high, color=style.colour, alpha=0.16, linewidth=0)
            axes.plot(each.place, each.mean, color=style.colour, linewidth=width, linestyle=dashes)
        axes.set_xlim(left=0)
        if limits is not None:
            axes.set_ylim(*limits)
        axes.set_xlabel(what)

    return paint


def _axes(figure: "Figure", place: Rectangle) -> "Axes":
    wide, high = figure.get_size_inches()
    left, bottom, right, top = _INSIDE
    x, y, width, height = place
    inside = ((x + left) / wide, (y + bottom) / high, (width - left - right) / wide, (height - bottom - top) / high)
    axes = figure.add_axes(inside)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=7.5, length=2.5)
    axes.xaxis.label.set(color=INK, size=8)
    axes.grid(color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    return axes
