"""Small multiples: one small chart per loss, all on the same axes, to compare losses by eye.

Each painter draws into a rectangle of a figure: alone for the page, or in a sheet of all losses for a paper.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionloss.core.number_text import MINUS
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.losses.explain import GradientAnalysis
from lesionloss.report.history import SPLITS, CurveBand
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.probability_maps import BINS, Calibration
from lesionloss.report.threshold_curves import MeanScore, ThresholdPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rectangle = tuple[float, float, float, float]  # left, bottom, width, height in inches
Painter = Callable[["Figure", Rectangle], None]

PANEL_INCHES = (3.2, 2.3)
COLUMNS, LEGEND_COLUMNS = 4, 5
FEW_VOXELS = 50  # the mark of a bin with fewer is hollow: its share is uncertain
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Width and dashes of the lines; sheets have a legend of them, and the page explains them.
DASHED: Any = (0, (5, 2))
DOTTED: Any = (0, (1, 1.3))
_SPLIT_LINES: dict[str, tuple[float, Any]] = {
    "train_patches": (1.2, DOTTED),
    "train_images": (1.2, DASHED),
    "test": (2.2, "-"),
}
_SCORE_LINES: dict[str, tuple[float, Any]] = {"dice": (2.2, "-"), "recall": (1.2, DASHED), "precision": (1.2, DOTTED)}
_INSIDE = (0.6, 0.42, 0.12, 0.12)  # left, bottom, right, top of a panel, in inches: room for numbers and titles


@dataclass(frozen=True)
class LegendKey:
    """A line or mark of a legend, and its words; a band is a wide pale line."""

    words: str
    width: float = 1.6
    dashes: Any = "-"
    colour: str = INK
    alpha: float = 1.0
    mark: str = ""
    hollow: bool = False


RANGE_KEY = LegendKey("range over training runs", 8, alpha=0.2)
THRESHOLD_KEYS = (
    LegendKey("Dice", *_SCORE_LINES["dice"]),
    LegendKey("recall", *_SCORE_LINES["recall"]),
    LegendKey("precision", *_SCORE_LINES["precision"]),
    LegendKey("95 % interval over patients", 8, alpha=0.2),
    LegendKey("threshold of the scores", 0.7, colour=MUTED),
)
RELIABILITY_KEYS = (
    LegendKey("perfect calibration", 0.8, colour=MUTED),
    LegendKey("20 bins of voxels", 1.4, mark="o"),
    LegendKey(f"fewer than {FEW_VOXELS} voxels", 1.4, mark="o", hollow=True),
)
LOSS_KEYS = (LegendKey("mean over folds and seeds"), RANGE_KEY)
GRADIENT_KEYS = (LegendKey("lesion voxel", 2.0), LegendKey("background voxel", 1.2, DASHED))


def split_keys(splits: Sequence[str]) -> tuple[LegendKey, ...]:
    """The legend of curves over epochs."""
    lines = (LegendKey(SPLITS.get(split, split), *_SPLIT_LINES.get(split, (1.6, "-"))) for split in splits)
    return (*lines, RANGE_KEY)


def alone(paint: Painter) -> "Figure":
    """A figure of one panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=PANEL_INCHES)
    paint(figure, (0.0, 0.0, *PANEL_INCHES))
    return figure


def sheet(painters: Sequence[tuple[str, Painter]], keys: Sequence[LegendKey]) -> "Figure":
    """All panels with their names, four in a row, over a legend."""
    from matplotlib.figure import Figure

    columns, gap, foot = min(COLUMNS, len(painters)), 0.22, 0.26 * math.ceil(len(keys) / LEGEND_COLUMNS) + 0.08
    if len(painters) == 1:
        foot = 0.2 * len(keys) + 0.1
    rows = math.ceil(len(painters) / columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * (height + gap) + foot))
    for number, (name, paint) in enumerate(painters):
        left, bottom = number % columns * width, (rows - 1 - number // columns) * (height + gap) + foot
        paint(figure, (left, bottom, width, height))
        total = figure.get_size_inches()
        figure.text((left + _INSIDE[0]) / total[0], (bottom + height + 0.02) / total[1], name, size=8.5, color=INK)
    add_legend(figure, keys, 1 if len(painters) == 1 else LEGEND_COLUMNS)
    return figure


def add_legend(figure: "Figure", keys: Sequence[LegendKey], columns: int) -> None:
    """A legend along the bottom edge of a figure."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D(
            [],
            [],
            color=key.colour,
            linewidth=key.width,
            linestyle=key.dashes,
            alpha=key.alpha,
            marker=key.mark,
            markersize=5,
            markerfacecolor="white" if key.hollow else key.colour,
            solid_capstyle="butt",
        )
        for key in keys
    ]
    figure.legend(
        lines,
        [key.words for key in keys],
        loc="lower center",
        ncols=min(columns, len(keys)),
        fontsize=7.5,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=2.6,
    )


def threshold_panel(curve: Sequence[ThresholdPoint], style: LossStyle, used: float) -> Painter:
    """Dice (bold), recall (dashed) and precision (dotted) over thresholds: means over patients, 95 % intervals."""

    def paint(figure: "Figure", place: Rectangle) -> None:
        axes = panel_axes(figure, place)
        at = [point.threshold for point in curve]
        axes.axvline(used, color=MUTED, linewidth=0.7)
        for name, (width, dashes) in _SCORE_LINES.items():
            scores: list[MeanScore] = [getattr(point, name) for point in curve]
            bounds = [(s.interval.low, s.interval.high) if s.interval else (np.nan, np.nan) for s in scores]
            means = np.array([s.mean for s in scores], dtype=np.float64)
            axes.fill_between(at, *np.array(bounds).T, color=style.colour, alpha=0.13, linewidth=0)
            axes.plot(at, means, color=style.colour, linewidth=width, linestyle=dashes)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xlabel("probability threshold")
        axes.set_ylabel("mean over patients")

    return paint


def reliability_panel(measured: Calibration, style: LossStyle) -> Painter:
    """Share of lesion over predicted probability, with the diagonal of perfect calibration; number of voxels below."""

    def paint(figure: "Figure", place: Rectangle) -> None:
        left, bottom, width, height = place
        share = 0.3 * (height - _INSIDE[1] - _INSIDE[3])
        axes = panel_axes(figure, (left, bottom + share, width, height - share))
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
        filled = measured.voxels > 0
        axes.plot(measured.probability[filled], measured.lesion[filled], color=style.colour, linewidth=1.4)
        for many, face in ((measured.voxels >= FEW_VOXELS, style.colour), (filled, "white")):
            chosen = filled & many if face != "white" else filled & (measured.voxels < FEW_VOXELS)
            places = (measured.probability[chosen], measured.lesion[chosen])
            axes.plot(*places, "o", color=style.colour, markerfacecolor=face, markersize=3.6)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.tick_params(labelbottom=False)
        axes.set_ylabel("share of lesion voxels")
        below = panel_axes(figure, (left, bottom, width, share + _INSIDE[1] + _INSIDE[3] - 0.15))
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
    axes.set_ylabel("voxels")


def gradient_panel(curve: GradientAnalysis, style: LossStyle) -> Painter:
    """The gradient of a loss on one voxel towards the reference: lesion (line) and background (dashed)."""

    def paint(figure: "Figure", place: Rectangle) -> None:
        axes = panel_axes(figure, place)
        axes.axhline(0, color=MUTED, linewidth=0.7)
        axes.plot(curve.probability, curve.lesion, color=style.colour, linewidth=2.0)
        axes.plot(curve.probability, curve.background, color=style.colour, linewidth=1.2, linestyle=DASHED)
        axes.set_yscale("symlog", linthresh=1e-2)
        axes.yaxis.set_minor_locator(_none())
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(_few_powers(axes))
        axes.yaxis.set_major_formatter(_power)
        axes.set_xlabel("predicted probability of lesion")
        axes.set_ylabel("gradient × voxels")

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
    bands: Sequence[CurveBand],
    style: LossStyle,
    what: str,
    value: str,
    limits: tuple[float, float] | None = None,
) -> Painter:
    """Mean over training runs as a line, with the range from lowest to highest; each split has its own dashes.

    `what` and `value` are the labels of the axes; `limits` are those of the vertical one, the same for all losses if
    they can be compared.
    """

    def paint(figure: "Figure", place: Rectangle) -> None:
        axes = panel_axes(figure, place)
        for each in bands:
            width, dashes = _SPLIT_LINES.get(each.split, (1.6, "-"))
            axes.fill_between(each.place, each.low, each.high, color=style.colour, alpha=0.16, linewidth=0)
            axes.plot(each.place, each.mean, color=style.colour, linewidth=width, linestyle=dashes)
        number_steps(axes)
        if limits is not None:
            axes.set_ylim(*limits)
        axes.set_xlabel(what)
        axes.set_ylabel(value)

    return paint


def number_steps(axes: "Axes") -> None:
    """A horizontal axis of epochs or steps: from 0, in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def panel_axes(figure: "Figure", place: Rectangle) -> "Axes":
    """Empty axes in a rectangle of a figure."""
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
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=INK, size=8)
    axes.grid(color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    return axes
