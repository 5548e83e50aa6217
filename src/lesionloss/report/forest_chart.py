"""The forest plot of the first screen: the difference of each loss from the baseline, with its verdict.

One drawing in two shapes: names, marks, numbers and verdicts side by side, or for narrow screens names above marks.
Lines differ in width and marks in their filling, so that it can be read without colours.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionloss.core.number_text import MINUS, decimals_for, interval, listed, number, unit_text
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.row_charts import name_lines, short_name
from lesionloss.report.verdict_sentence import WHY_NONE
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics import Comparison, PairedDifference
from lesionloss.statistics.evidence import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICT_MARKS = {"better": "▲", "worse": "▼", "equivalent": "≈"}
THICK, THIN = 4.2, 1.1
NAME_LETTERS = 32  # of a line of a name beside the marks
EDGE = 0.03  # inches beside the texts
FOOT = 0.68  # inches for the numbers and the title of the axis
SEEDS_BELOW = 0.27  # rows
WIDEST = 2.5  # a thin line that reaches further than so many times everything else ends in an arrow
_LETTER = 0.067  # inches of a letter


@dataclass(frozen=True)
class ForestShape:
    """Sizes in inches: the whole width, the left and right edge of the axes, the height of a row.

    `stacked`: names and verdicts stand above the marks, and numbers are left to the table.
    """

    width: float
    left: float
    right: float
    row: float
    stacked: bool
    legend_columns: int


WIDE = ForestShape(8.8, 2.5, 5.7, 0.33, stacked=False, legend_columns=5)
NARROW = ForestShape(3.6, 0.12, 3.48, 0.5, stacked=True, legend_columns=1)


def verdict_words(d: PairedDifference) -> str:
    """`▲ better`, `undecided`, `no verdict`."""
    if d.unanswered:
        return "no verdict"
    return f"{VERDICT_MARKS.get(d.verdict, '')} {d.verdict}".strip()


def missing_words(c: Comparison) -> str:
    """What the plot cannot show, and why; empty where it is complete."""
    reasons = dict.fromkeys(d.unanswered for d in c.differences if d.unanswered and d.patients)
    known = [WHY_NONE[reason] for reason in reasons if reason in WHY_NONE]
    if "interim" in reasons:
        known.append(f"only {c.ended} of {c.planned} trials have ended")
    if not known:
        return ""
    without = [d for d in c.differences if d.patients and d.interval_new_training_runs is None]
    thin = "thin " if all(d.interval for d in without) else ""
    return f"Missing: {f'{thin}lines and ' if without else ''}verdicts, because {listed(known)}."


def forest_words(c: Comparison) -> str:
    """The plot in words, for those who do not see it."""
    decimals = _decimals(c)
    rows = [f"{d.loss} {_size(d, decimals)}, {verdict_words(d)}" for d in c.differences if d.patients]
    return f"{'; '.join(rows)}. {missing_words(c)}".strip()


def forest_chart(c: Comparison, styles: Mapping[str, LossStyle], shape: ForestShape = WIDE) -> "Figure":
    """A row for each loss: both intervals, seeds, mean and verdict; with axis, legend, and what is missing."""
    from matplotlib.figure import Figure

    shown = [d for d in c.differences if d.patients]
    letters = int((shape.width - 0.2) / _LETTER)
    missing = textwrap.wrap(missing_words(c), letters)
    legend = 0.2 * -(-len(handles := _handles(shown)) // shape.legend_columns) + 0.1
    foot, head = FOOT + legend + 0.17 * len(missing), 0.06 if shape.stacked else 0.3
    height = head + shape.row * len(shown) + foot
    figure = Figure(figsize=(shape.width, height))
    box = (shape.left / shape.width, foot / height, (shape.right - shape.left) / shape.width)
    axes = figure.add_axes((*box, 1 - (foot + head) / height))
    _prepare(axes, shown, shape, _limits(shown))
    for row, d in enumerate(shown):
        _marks(axes, row + (0.16 if shape.stacked else -0.08), d, styles[d.loss])
        _texts(axes, row, d, shape, _decimals(c))
    if not shape.stacked:
        _heads(axes, c, shape)
    _name_the_axis(axes, c, height - foot - head)
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 0.17 * len(missing) / height),
        ncols=shape.legend_columns,
        fontsize=8.5,
        frameon=False,
        labelcolor=INK,
        columnspacing=1.3,
        handlelength=1.7,
        borderaxespad=0.1,
    )
    figure.text(EDGE / shape.width, 0.03 / height, "\n".join(missing), color=INK, size=8.5, va="bottom")
    return figure


def _limits(shown: list[PairedDifference]) -> tuple[float, float]:
    """The range of the axis: everything but thin lines that are far longer than all else."""
    inner, outer = [0.0], [0.0]
    for d in shown:
        inner += [d.mean or 0.0, *(value for _, value in d.seed_means), -d.margin, d.margin, *_ends(d.interval)]
        outer += _ends(d.interval_new_training_runs)
    low, high = min(inner), max(inner)
    size = (high - low) or 1.0
    low, high = (max(min(low, *outer), low - WIDEST * size / 2), min(max(high, *outer), high + WIDEST * size / 2))
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _ends(bounds: Interval | None) -> list[float]:
    return [] if bounds is None else [bounds.low, bounds.high]


def _prepare(axes: "Axes", shown: list[PairedDifference], shape: ForestShape, limits: tuple[float, float]) -> None:
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(*limits)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(axis="x", colors=MUTED, labelsize=8.5)
    axes.locator_params(axis="x", nbins=5 if shape.stacked else 6)
    axes.xaxis.set_major_formatter(_tick)
    axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
    if margin := max((d.margin for d in shown), default=0.0):
        axes.axvspan(-margin, margin, color=LINE, alpha=0.55, linewidth=0, zorder=0)
    for row in range(1, len(shown)):
        ends = [0, 1] if shape.stacked else [-shape.left, shape.width - shape.left]
        across = ends if shape.stacked else [end / (shape.right - shape.left) for end in ends]
        axes.plot(
            across, [row - 0.5] * 2, transform=axes.get_yaxis_transform(), color=LINE, linewidth=0.6, clip_on=False
        )


def _tick(value: float, _place: float) -> str:
    """`−.05`, `0`, `10`."""
    text = f"{abs(value):.6f}".rstrip("0").rstrip(".")
    return f"{MINUS if value < 0 else ''}{text.removeprefix('0') or '0'}"


def _marks(axes: "Axes", at: float, d: PairedDifference, style: LossStyle) -> None:
    low, high = axes.get_xlim()
    if (wider := d.interval_new_training_runs) is not None:
        ends = [max(wider.low, low), min(wider.high, high)]
        axes.plot(ends, [at] * 2, color=style.colour, linewidth=THIN, solid_capstyle="butt", zorder=2)
        for inside, end, mark in ((wider.low < low, low, "<"), (wider.high > high, high, ">")):
            if inside:
                axes.plot([end], [at], mark, color=style.colour, markersize=5, clip_on=False, zorder=2)
    if d.interval is not None:
        bounds = [d.interval.low, d.interval.high]
        axes.plot(bounds, [at] * 2, color=style.colour, linewidth=THICK, solid_capstyle="butt", alpha=0.75, zorder=3)
    if len(d.seed_means) > 1:
        values = [value for _, value in d.seed_means]
        axes.plot(values, np.full(len(values), at + SEEDS_BELOW), "o", **_SEED, zorder=4)
    face = style.colour if d.decided else "#ffffff"
    axes.plot([d.mean or 0.0], [at], style.mark, color=style.colour, markerfacecolor=face, **_MEAN, zorder=5)


_SEED: dict[str, Any] = {
    "color": INK, "markersize": 3.4, "markeredgewidth": 0, "linestyle": "none",
}  # fmt: skip
_MEAN: dict[str, Any] = {"markersize": 8, "markeredgewidth": 1.5, "linestyle": "none"}


def _texts(axes: "Axes", row: int, d: PairedDifference, shape: ForestShape, decimals: int) -> None:
    along, span = axes.get_yaxis_transform(), shape.right - shape.left
    at = row - 0.24 if shape.stacked else row
    left, right = (
        (0.0, 1.0) if shape.stacked else ((EDGE - shape.left) / span, (shape.width - EDGE - shape.left) / span)
    )
    bold = "bold" if d.decided else "normal"
    behind = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.8} if shape.stacked else None
    name = short_name(d.loss) if shape.stacked else "\n".join(name_lines(d.loss, NAME_LETTERS))
    axes.text(left, at, name, transform=along, color=INK, size=9, va="center", linespacing=1.05, bbox=behind)
    words: dict[str, Any] = {"size": 9, "va": "center", "ha": "right", "weight": bold, "bbox": behind}
    axes.text(right, at, verdict_words(d), transform=along, color=INK, **words)
    if not shape.stacked:
        numbers = (shape.width - 1.1 - shape.left) / span
        axes.text(numbers, at, _size(d, decimals), transform=along, color=INK, size=8.5, va="center", ha="right")


def _heads(axes: "Axes", c: Comparison, shape: ForestShape) -> None:
    along, span = axes.get_yaxis_transform(), shape.right - shape.left
    places = {
        "Loss": ((EDGE - shape.left) / span, "left"),
        "Difference [95 %]": ((shape.width - 1.1 - shape.left) / span, "right"),
        "Verdict": ((shape.width - EDGE - shape.left) / span, "right"),
    }
    for word, (x, align) in places.items():
        axes.text(x, -0.85, word, transform=along, color=MUTED, size=8.5, va="center", ha=align)


def _name_the_axis(axes: "Axes", c: Comparison, height: float) -> None:
    """The title of the axis, and which side of it is better; `height` of the axes in inches."""
    unit = f" [{unit_text(c.unit)}]" if c.unit else ""
    title = f"{metric_facts(c.metric).title}{unit}: difference from {short_name(c.baseline)}"
    words = [(0.5, -0.58, title, "center")]
    if metric_facts(c.metric).has_direction:
        left, right = ("better", "worse") if c.lower_is_better else ("worse", "better")
        words += [(0.0, -0.4, f"← {left}", "left"), (1.0, -0.4, f"{right} →", "right")]
    for x, inches, word, align in words:
        axes.text(x, inches / height, word, transform=axes.transAxes, color=INK, size=9, ha=align, va="center")


def _handles(shown: list[PairedDifference]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    hollow = {"marker": "D", "color": INK, "markerfacecolor": "#ffffff"} | _MEAN | {"markersize": 6}
    found: list[Any] = [
        Line2D([], [], color=INK, alpha=0.75, linewidth=THICK, solid_capstyle="butt", label="95 %, new patients"),
        Line2D([], [], color=INK, linewidth=THIN, label="95 %, new training runs too"),
        Line2D([], [], marker="o", **_SEED, label="a seed"),
        Line2D([], [], **hollow, label="mean (filled: a verdict)"),
    ]
    if margin := max((d.margin for d in shown), default=0.0):
        words = f"margin ±{margin:g}".replace("±0.", "±.")
        found.append(Patch(facecolor=LINE, alpha=0.55, label=words))
    return found


def _decimals(c: Comparison) -> int:
    return decimals_for(d.mean for d in c.differences)


def _size(d: PairedDifference, decimals: int) -> str:
    """The mean difference, and the interval that decides where there is one."""
    bounds = d.interval_new_training_runs or d.interval
    return f"{number(d.mean, decimals, sign=True)} {interval(bounds, decimals, sign=True)}".strip()
