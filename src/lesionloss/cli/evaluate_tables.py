"""The tables that `lesionloss evaluate` shows on the screen."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lesionloss.cli.terminal import plain_console
from lesionloss.metrics import Better, choose
from lesionloss.metrics.export import Evaluation
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.metrics.thresholds import CurvePoint

if TYPE_CHECKING:
    from rich.console import Console

# A pipe has no width of its own; no table should be folded for one.
PIPED_WIDTH = 200
EXPLANATION = (
    "median, quartiles, mean: over the n of N cases in which the metric is defined and finite; "
    "penalised: mean with the worst value for each missed case, over the n beside it"
)
ARROWS = {Better.HIGHER: "↑", Better.LOWER: "↓", Better.NEARER_ZERO: "→0", Better.NONE: ""}


def _console() -> "Console":
    console = plain_console()
    return console if console.is_terminal else plain_console(width=PIPED_WIDTH)


def number(value: float) -> str:
    """Four significant digits; a dash where undefined."""
    if math.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _show_unmatched(console: "Console", unmatched: Sequence[str]) -> None:
    for sentence in unmatched:
        console.print(f"left out: {sentence}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def show_scores(overview: Evaluation) -> None:
    """Summaries, one line for each class and metric; detection by size; cases with an empty mask."""
    from rich.table import Table

    console = _console()
    summaries = overview.summaries
    several = any(label for label, _ in summaries)
    table = Table(box=None, pad_edge=False, header_style="bold")
    if several:
        table.add_column("class", justify="right")
    for heading in ("metric", "unit", "better"):
        table.add_column(heading)
    for heading in ("median", "quartiles", "mean", "n of N", "penalised", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (label, text), summary in summaries.items():
        chosen = choose(text)
        table.add_row(
            *([label] if several else []),
            text,
            chosen.unit,
            ARROWS[chosen.metric.direction],
            number(summary.median),
            f"{number(summary.lower_quartile)} to {number(summary.upper_quartile)}",
            number(summary.mean),
            f"{summary.n_defined} of {summary.n}",
            number(summary.penalised_mean),
            str(summary.n_penalised),
        )
    console.print(table)
    for label, classes in overview.sizes.items():
        _show_sizes(console, label, classes)
    _show_cases(console, overview)
    _show_unmatched(console, overview.left_out)


def _show_sizes(console: "Console", label: str, classes: Sequence[SizeClass]) -> None:
    from rich.table import Table

    table = Table(title=f"reference lesions found{', class ' if label else ''}{label}", box=None, title_justify="left")
    for heading in ("mm³", "found", "of", "share"):
        table.add_column(heading, justify="right")
    for each in classes:
        limits = (
            f"over {each.above_mm3:g}" if math.isinf(each.up_to_mm3) else f"{each.above_mm3:g} to {each.up_to_mm3:g}"
        )
        share = number(each.found / each.lesions) if each.lesions else number(math.nan)
        table.add_row(limits, str(each.found), str(each.lesions), share)
    console.print(table)


def _show_cases(console: "Console", overview: Evaluation) -> None:
    """What the columns are, what is lesion, and for each class the cases in which a mask is empty."""
    lines = [EXPLANATION]
    if overview.threshold is not None:
        lines.append(f"lesion: probability of at least {overview.threshold:g}")
    for label, counts in overview.cases.items():
        if counts.missed or counts.without_lesion:
            whose = f"class {label}: " if label else ""
            share = f"; specificity by case {number(counts.specificity)} (n = {counts.without_lesion})"
            lines.append(
                f"{whose}of {counts.n} cases, {counts.missed} missed (lesions, but nothing predicted), "
                f"{counts.false_positive} false positive (no lesion, but something predicted), "
                f"{counts.correctly_empty} correctly empty{share if counts.without_lesion else ''}"
            )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def show_curve(curve: Sequence[CurvePoint], chosen: CurvePoint | None, cases: int, unmatched: Sequence[str]) -> None:
    """Means over cases at each threshold, with the number of cases behind each; the chosen threshold."""
    from rich.table import Table

    console = _console()
    table = Table(title=f"means over {cases} cases", title_justify="left", box=None, pad_edge=False)
    for heading in ("threshold", "recall", "n", "precision", "n", "Dice", "n", ""):
        table.add_column(heading, justify="right")
    for point in curve:
        table.add_row(
            f"{point.threshold:g}",
            *(number(point.recall), str(point.recall_n)),
            *(number(point.precision), str(point.precision_n)),
            *(number(point.dice), str(point.dice_n)),
            "chosen" if point is chosen else "",
            style="bold" if point is chosen else "",
        )
    console.print(table)
    _show_unmatched(console, unmatched)
