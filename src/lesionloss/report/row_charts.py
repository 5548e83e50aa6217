"""Charts of one metric with one row per loss: patients, paired differences, ranks; and one row per variance source.

Rows have the same order in all charts, and the name is above the marks, so that charts can be read side by side and on
a narrow screen.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.number_text import decimals_for, interval, number, percent, unit_text
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.core.randomness import numpy_generator
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.wording import source_words
from lesionloss.runs.metric_scores import MetricScores, patient_values
from lesionloss.statistics import Comparison, LossRank, LossSummary, PairedDifference, VarianceComponent, paired_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 4.8
ROW_INCHES = 0.56
FRAME_INCHES = 0.62
SIDE_INCHES = 0.2  # beside the axes, for half of the number at an end
KEY_INCHES = 0.15  # a line of the key below a chart
LONGEST_NAME = 38
VIOLIN_FROM = 8  # values; the shape of fewer is that of the smoothing
BAND = 0.17  # half the height of the points of a row, in rows
THIN_ROW_INCHES = 0.4
BAR = 0.22  # height, in rows
PATIENTS_KEY = (
    "Point: a patient (mean of its seeds). Box: quartiles and median, whiskers to\n"
    f"1.5 times the box. Shape: density, from {VIOLIN_FROM} patients on. Text: mean [95 %]."
)
DIFFERENCES_KEY = (
    "Point: a patient. Mark: mean. Thick line: 95 % for these networks.\n"
    "Thin line: for new training runs, too. Filled: a verdict."
)
RANKS_KEY = "Mark: rank of the means. Band: ranks that the data leave possible (95 %)."
COMPONENTS_KEY = "Dark: sources with the loss."


def patients_chart(scores: MetricScores, comparison: Comparison, styles: Mapping[str, LossStyle]) -> "Figure":
    """Each patient's value as a point, over a box (quartiles, median; whiskers to 1.5 times the box) and a violin."""
    decimals = decimals_for(summary.mean for summary in comparison.summaries)
    figure, axes = empty_rows(
        [s.loss for s in comparison.summaries], [_means(s, decimals) for s in comparison.summaries], PATIENTS_KEY
    )
    for row, summary in enumerate(comparison.summaries):
        values = patient_values(scores.of_loss(summary.loss))
        if len(values):
            if len(values) >= VIOLIN_FROM and np.ptp(values) > 0:
                violin(axes, row, values, styles[summary.loss])
            _box(axes, row, values, styles[summary.loss], scores.metric)
    unit = f" ({unit_text(comparison.unit)})" if comparison.unit else ""
    better = f", {scores.facts.direction} is better" if scores.facts.has_direction else ""
    axes.set_xlabel(f"{scores.facts.title}{unit}{better}")
    return figure


def differences_chart(scores: MetricScores, comparison: Comparison, styles: Mapping[str, LossStyle]) -> "Figure":
    """Mean difference with its intervals over the patients' differences; filled if there is a verdict.

    The thick line is the interval for these networks, the thin one that for new training runs, which decides.
    """
    shown = [difference for difference in comparison.differences if difference.patients]
    decimals = decimals_for(difference.mean for difference in shown)
    figure, axes = empty_rows([d.loss for d in shown], [_difference(d, decimals) for d in shown], DIFFERENCES_KEY)
    axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
    for row, difference in enumerate(shown):
        pairs = paired_rows(scores, difference.loss, comparison.baseline)
        values = patient_values(pairs, "difference")
        style = styles[difference.loss]
        axes.plot(
            values, row + spread(len(values), comparison.metric), ".", color=style.colour, alpha=0.45, markersize=5
        )
        _interval(axes, row, difference, style)
    unit = f" ({unit_text(comparison.unit)})" if comparison.unit else ""
    axes.set_xlabel(f"{scores.facts.title}{unit}: difference from {short_name(comparison.baseline)}")
    if scores.facts.has_direction:
        _name_the_sides(axes, comparison, len(shown))
    return figure


def ranks_chart(ranks: Sequence[LossRank], styles: Mapping[str, LossStyle], title: str) -> "Figure":
    """A mark at the rank of the means, a line over the ranks that the data leave possible."""
    notes = [f"rank {rank.rank}, possible {rank.low} to {rank.high}" for rank in ranks]
    figure, axes = empty_rows([rank.loss for rank in ranks], notes, RANKS_KEY)
    places = np.arange(1, len(ranks) + 1)
    for row, rank in enumerate(ranks):
        style = styles[rank.loss]
        axes.plot([rank.low, rank.high], [row + 0.1] * 2, color=style.colour, linewidth=5, alpha=0.35)
        axes.plot([rank.rank], [row + 0.1], style.mark, color=style.colour, markersize=8)
    axes.set_xlim(0.5, len(ranks) + 0.5)
    axes.set_xticks(places)
    axes.set_xlabel(f"rank in {title}, 1 is best (means over {ranks[0].patients} patients)")
    return figure


def components_chart(components: Sequence[VarianceComponent], title: str) -> "Figure":
    """Share of each source in the variance of a single score; sources with the loss are darker."""
    notes = ["unknown" if c.share is None else percent(c.share) for c in components]
    figure, axes = empty_rows([source_words(c.source) for c in components], notes, COMPONENTS_KEY, THIN_ROW_INCHES)
    for row, component in enumerate(components):
        axes.barh(row + 0.1, 1.0, height=BAR, color=LINE, alpha=0.45, linewidth=0)
        dark = component.source.startswith("loss")
        axes.barh(row + 0.1, component.share or 0.0, height=BAR, color=INK if dark else MUTED, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel(f"share of the variance of a single score ({title})")
    return figure


def _name_the_sides(axes: "Axes", comparison: Comparison, rows: int) -> None:
    low, high = axes.get_xlim()
    room = 0.12 * (high - low)
    axes.set_xlim(min(low, -room), max(high, room))
    left, right = ("better", "worse") if comparison.lower_is_better else ("worse", "better")
    below = -0.34 / (ROW_INCHES * rows)
    for place, word, align in ((0.0, f"← {left}", "left"), (1.0, f"{right} →", "right")):
        axes.text(place, below, word, transform=axes.transAxes, color=INK, size=8.5, ha=align, va="center")


def empty_rows(
    names: Sequence[str], notes: Sequence[str], key: str = "", row_inches: float = ROW_INCHES
) -> tuple["Figure", "Axes"]:
    """An empty chart with one labelled row per name, the first on top, and the key of its marks below."""
    from matplotlib.figure import Figure

    lines = key.count("\n") + 1 if key else 0
    height = FRAME_INCHES + row_inches * max(len(names), 1) + KEY_INCHES * lines
    figure = Figure(figsize=(WIDTH_INCHES, height))
    if key:
        add_key(figure, key)
    foot = KEY_INCHES * lines
    return figure, row_axes(figure, (0.0, foot, WIDTH_INCHES, height - foot), names, notes)


def add_key(figure: "Figure", key: str) -> None:
    """What the marks of a chart mean, along its bottom edge."""
    width, height = figure.get_size_inches()
    figure.text(SIDE_INCHES / width, 0.05 / height, key, color=MUTED, size=7.5, va="bottom", linespacing=1.25)


def row_axes(
    figure: "Figure", place: tuple[float, float, float, float], names: Sequence[str], notes: Sequence[str]
) -> "Axes":
    """Axes with one labelled row per name in a rectangle (left, bottom, width, height in inches) of a figure."""
    wide, high = figure.get_size_inches()
    left, bottom, width, height = place
    foot = FRAME_INCHES * 0.9
    axes = figure.add_axes(
        (
            (left + SIDE_INCHES) / wide,
            (bottom + foot) / high,
            (width - 2 * SIDE_INCHES) / wide,
            (height - FRAME_INCHES) / high,
        )
    )
    axes.set_ylim(max(len(names), 1) - 0.6, -0.62)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(axis="x", colors=MUTED, labelsize=8)
    axes.xaxis.label.set(color=INK, size=8.5)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for row, (name, note) in enumerate(zip(names, notes, strict=True)):
        along = axes.get_yaxis_transform()
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
        if name:
            axes.text(0.0, row - 0.36, short_name(name), transform=along, color=INK, size=8.5, va="center", bbox=behind)
        axes.text(1.0, row - 0.36, note, transform=along, color=MUTED, size=8, va="center", ha="right", bbox=behind)
    return axes


def violin(axes: "Axes", row: int, values: NDArray[np.float64], style: LossStyle) -> None:
    """The smoothed density of the values, cut at the lowest and the highest."""
    drawn = axes.violinplot(
        [values], positions=[row + 0.08], widths=2 * BAND + 0.2, orientation="horizontal", showextrema=False, points=60
    )
    bodies: Any = drawn["bodies"]
    for body in bodies:
        body.set(facecolor=style.colour, edgecolor="none", alpha=0.16)


def _box(axes: "Axes", row: int, values: NDArray[np.float64], style: LossStyle, metric: str) -> None:
    axes.boxplot(
        [values],
        positions=[row + 0.08],
        widths=2 * BAND + 0.1,
        orientation="horizontal",
        manage_ticks=False,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": style.colour + "1a", "edgecolor": style.colour, "linewidth": 1.0},
        medianprops={"color": style.colour, "linewidth": 2.2},
        whiskerprops={"color": style.colour, "linewidth": 1.0},
        capprops={"linewidth": 0},
    )
    heights = row + spread(len(values), metric)
    axes.plot(values, heights, style.mark, color=style.colour, alpha=0.7, markersize=3.6, markeredgewidth=0)


def _interval(axes: "Axes", row: int, difference: PairedDifference, style: LossStyle) -> None:
    if difference.interval is not None:
        bounds = [difference.interval.low, difference.interval.high]
        axes.plot(bounds, [row + 0.08] * 2, color=style.colour, linewidth=2.4, solid_capstyle="butt")
    if (wider := difference.interval_new_training_runs) is not None:
        axes.plot([wider.low, wider.high], [row + 0.08] * 2, color=style.colour, linewidth=1.0)
    face = style.colour if difference.decided else "white"
    axes.plot(
        np.array([difference.mean], dtype=np.float64),
        [row + 0.08],
        style.mark,
        color=style.colour,
        markerfacecolor=face,
        markersize=8,
        zorder=4,
    )


def spread(count: int, metric: str) -> NDArray[np.float64]:
    """Small reproducible shifts (count,) of the points of a row, so that equal values stay visible."""
    return 0.08 + numpy_generator("spread", metric, count).uniform(-BAND, BAND, size=count)


def _means(summary: LossSummary, decimals: int) -> str:
    if summary.mean is None:
        return f"no value, n 0 of {summary.patients}"
    bounds = interval(summary.interval, decimals)
    return f"{number(summary.mean, decimals)} {bounds}, n {summary.patients_defined} of {summary.patients}"


def _difference(difference: PairedDifference, decimals: int) -> str:
    bounds = interval(difference.interval_new_training_runs or difference.interval, decimals, sign=True)
    return f"{number(difference.mean, decimals, sign=True)} {bounds}, n {difference.patients}"


def name_lines(name: str, letters: int) -> list[str]:
    """The name of a loss in one line or two, broken after a sign between its words rather than within one."""
    if len(name) <= letters:
        return [name]
    signs = r" " if " " in name[letters // 2 : letters] else r"[_(,+* ]"
    ends = [match.end() for match in re.finditer(signs, name) if match.end() <= letters]
    end = ends[-1] if ends else letters
    rest = name[end:].lstrip()
    return [name[:end].rstrip(), rest if len(rest) <= letters else rest[: letters - 1] + "…"]


def short_name(name: str) -> str:
    """The name of a loss, cut where it is too long for a chart."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
