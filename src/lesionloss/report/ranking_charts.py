"""Charts of rankings: critical difference diagram, map of pairwise verdicts, performance profiles."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lesionloss.core.number_text import number, percent, probability
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.row_charts import KEY_INCHES, add_key, short_name
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.statistics.rankings import Rankings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

WIDTH_INCHES = 7.6
ROW_INCHES = 0.24
BAR_INCHES = 0.13
CELL_INCHES = 0.5
GROUPS_KEY = "Bars join losses of which no pair is shown to differ: p of a verdict, corrected for all pairs."
NO_VERDICTS = "There can be no verdicts in this run, so nothing is shown to differ."
MAP_KEY = (
    "▲: the loss of the row is better in {title} than that of the column; ▼: worse.\n"
    "Number: p, corrected for all pairs. Empty: there can be no verdict."
)


def critical_difference_chart(found: Rankings, styles: Mapping[str, LossStyle]) -> "Figure":
    """Mean ranks over patients along an axis, 1 is best; bars join the groups."""
    from matplotlib.figure import Figure

    ordered = found.by_mean_rank
    left = (len(ordered) + 1) // 2
    above, bars, rows = 0.75, 0.1 + BAR_INCHES * len(found.groups), ROW_INCHES * left
    height = above + bars + rows + 0.15 + KEY_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, height))
    axes = figure.add_axes((0.32, 0.0, 0.36, 1.0))
    axes.set(xlim=(1, len(ordered)), ylim=(height, 0))
    axes.axis("off")
    axis = above - 0.2
    axes.plot([1, len(ordered)], [axis] * 2, color=MUTED, linewidth=0.9, clip_on=False)
    for tick in range(1, len(ordered) + 1):
        axes.plot([tick] * 2, [axis - 0.05, axis], color=MUTED, linewidth=0.9, clip_on=False)
        axes.text(tick, axis - 0.09, str(tick), color=MUTED, size=8, ha="center", va="bottom")
    title = f"mean rank in {metric_facts(found.metric).title} over {found.patients} patients, 1 is best"
    axes.text((1 + len(ordered)) / 2, axis - 0.3, title, color=INK, size=8.5, ha="center", va="bottom")
    places = {each.loss: each.mean_rank for each in ordered}
    for number_of, group in enumerate(found.groups):
        room = 0.012 * (len(ordered) - 1)
        ends = [places[group[0]] - room, places[group[-1]] + room]
        down = [axis + 0.1 + BAR_INCHES * number_of] * 2
        axes.plot(ends, down, color=INK, linewidth=3.2, solid_capstyle="butt", clip_on=False)
    for n, each in enumerate(ordered):
        on_left = n < left
        row = above + bars + ROW_INCHES * (n if on_left else len(ordered) - 1 - n)
        edge = 1 - 0.06 * (len(ordered) - 1) if on_left else len(ordered) + 0.06 * (len(ordered) - 1)
        style = styles[each.loss]
        axes.plot([each.mean_rank] * 2 + [edge], [axis, row, row], color=style.colour, linewidth=1.0, clip_on=False)
        axes.plot([each.mean_rank], [axis], style.mark, color=style.colour, markersize=5.5, clip_on=False, zorder=4)
        words, side = f" {short_name(each.loss)}  {number(each.mean_rank, 2)} ", "right" if on_left else "left"
        axes.text(edge, row, words, color=INK, size=8.5, ha=side, va="center")
    add_key(figure, GROUPS_KEY if any(pair.p is not None for pair in found.pairs) else NO_VERDICTS)
    return figure


def pairs_chart(found: Rankings) -> "Figure":
    """The verdict on every pair of losses, in the order of the mean ranks."""
    from matplotlib.figure import Figure

    ordered = [each.loss for each in found.by_mean_rank]
    count = len(ordered)
    side, left, top, foot = CELL_INCHES * count, 2.3, 0.3, 0.15 + 2 * KEY_INCHES
    width, height = max(left + side + 0.2, 5.6), top + side + foot + 0.2
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, (foot + 0.15) / height, side / width, side / height))
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    axes.set_xticks(range(count), [str(n + 1) for n in range(count)])
    axes.set_yticks(range(count), [f"{short_name(loss)}  {n + 1}" for n, loss in enumerate(ordered)])
    axes.xaxis.tick_top()
    axes.tick_params(colors=INK, labelsize=8.5, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for pair in found.pairs:
        places = ordered.index(pair.loss), ordered.index(pair.other)
        _cell(axes, *places, pair.verdict, pair.p)
        other = {"better": "worse", "worse": "better"}.get(pair.verdict, pair.verdict)
        _cell(axes, places[1], places[0], other, pair.p)
    for n in range(count):
        axes.add_patch(_square(n, n, LINE, 0.6))
    add_key(figure, MAP_KEY.format(title=metric_facts(found.metric).title))
    return figure


def _square(row: int, column: int, colour: str, alpha: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=colour, alpha=alpha, edgecolor="none")


def _cell(axes: "Axes", row: int, column: int, verdict: str, p: float | None) -> None:
    colours = {"better": "#0072b2", "worse": "#d55e00"}
    axes.add_patch(_square(row, column, colours.get(verdict, LINE), 0.3 if verdict in colours else 0.25))
    if p is None:
        return
    mark = {"better": "▲", "worse": "▼"}.get(verdict, "")
    words = probability(p).removeprefix("p = ").removeprefix("p ")
    axes.text(column, row - 0.17 if mark else row, words, color=INK, size=7, ha="center", va="center")
    axes.text(column, row + 0.2, mark, color=INK, size=8, ha="center", va="center")


def profiles_chart(found: Rankings, styles: Mapping[str, LossStyle]) -> "Figure":
    """The share of patients that reach each score, one line per loss."""
    from matplotlib.figure import Figure

    facts = metric_facts(found.metric)
    lines = -(-len(found.losses) // 3)
    figure = Figure(figsize=(WIDTH_INCHES, 3.1 + 0.2 * lines), layout="constrained")
    axes = figure.subplots()
    for place, (each, shares) in enumerate(zip(found.losses, found.profiles, strict=True)):
        style = styles[each.loss]
        (line,) = axes.step(found.thresholds, shares, where="post", color=style.colour, linewidth=1.3)
        line.set(label=short_name(each.loss), marker=style.mark, markevery=(3 * place % 15, 15), markersize=4.5)
    unit = f" [{facts.unit}]" if facts.unit else ""
    sign = "at most" if facts.lower_is_better else "at least"
    title = f"absolute {facts.title}" if facts.signed else facts.title
    axes.set_xlabel(f"{title}{unit}", color=INK, size=8.5)
    axes.set_ylabel(f"share of {found.patients} patients with {sign} this score", color=INK, size=8.5)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], [percent(share) for share in (0, 0.25, 0.5, 0.75, 1)])
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(color=LINE, linewidth=0.5)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(3, len(found.losses)), fontsize=7.5, frameon=False)
    return figure
