"""Charts with one row per loss or source beside those of `charts`: ranks, parts of the variance, lesions by size."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.number_text import percent
from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.report.charts import empty_rows
from lesionloss.report.loss_styles import Style
from lesionloss.statistics import Component, Rank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THIN_ROW_INCHES = 0.4
BAR = 0.22  # height, in rows
DISC_POINTS2 = 230  # area of a disc that holds all resamples
_SOURCES = {
    "loss": "the loss",
    "patient": "the patient",
    "fold": "the fold",
    "seed": "the seed, alike for all losses",
    "loss x fold": "the loss, fold by fold",
    "loss x patient": "the loss, patient by patient",
    "loss x seed": "the loss, seed by seed",
    "rest": "the rest",
}


def ranks_chart(ranks: Sequence[Rank], looks: Mapping[str, Style]) -> "Figure":
    """Every rank's share of the bootstrap as a disc of that area; a line over the middle 95 %, a tick at the rank."""
    notes = [f"rank {rank.rank} [{rank.low}, {rank.high}], first in {percent(rank.best)}" for rank in ranks]
    figure, axes = empty_rows([rank.loss for rank in ranks], notes)
    places = np.arange(1, len(ranks) + 1)
    for row, rank in enumerate(ranks):
        share, colour = np.array(rank.shares), looks[rank.loss].colour
        seen = share > 0
        axes.plot([rank.low, rank.high], [row + 0.1] * 2, color=colour, linewidth=1.4)
        axes.scatter(
            places[seen], np.full(int(seen.sum()), row + 0.1), s=DISC_POINTS2 * share[seen], color=colour, linewidth=0
        )
        axes.plot([rank.rank] * 2, [row - 0.12, row + 0.32], color=INK, linewidth=1.4)
    axes.set_xlim(0.5, len(ranks) + 0.5)
    axes.set_xticks(places)
    axes.set_xlabel(f"rank, 1 is best ({ranks[0].patients} patients and their seeds, drawn again)")
    return figure


def components_chart(components: Sequence[Component]) -> "Figure":
    """Share of each source in the variance of a single score; what the loss itself does is darker."""
    notes = ["can't be told apart" if c.share is None else percent(c.share) for c in components]
    figure, axes = empty_rows([_SOURCES.get(c.source, c.source) for c in components], notes, THIN_ROW_INCHES)
    for row, component in enumerate(components):
        axes.barh(row + 0.1, 1.0, height=BAR, color=LINE, alpha=0.45, linewidth=0)
        dark = component.source.startswith("loss")
        axes.barh(row + 0.1, component.share or 0.0, height=BAR, color=INK if dark else MUTED, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.set_xlabel("share of the variance of a single score")
    return figure


def detection_chart(found: Sequence[tuple[str, Sequence[SizeClass]]], looks: Mapping[str, Style]) -> "Figure":
    """Share of reference lesions found, by size, smallest on the left; under each size how many lesions there are."""
    from matplotlib.figure import Figure

    lines = -(-len(found) // 4)
    figure = Figure(figsize=(7.2, 2.7 + 0.2 * lines), layout="constrained")
    axes = figure.subplots()
    used = [n for n in range(len(found[0][1])) if any(sizes[n].lesions for _, sizes in found)]
    width = 0.8 / max(1, len(found))
    for number, (loss, sizes) in enumerate(found):
        places = np.arange(len(used)) + (number - (len(found) - 1) / 2) * width
        shares = [sizes[n].found / sizes[n].lesions if sizes[n].lesions else np.nan for n in used]
        look = looks[loss]
        axes.vlines(places, 0, shares, color=look.colour, alpha=0.35, linewidth=2.2)
        axes.plot(places, shares, look.mark, color=look.colour, markersize=6, label=loss, clip_on=False)
    counts = [_span([sizes[n].lesions for _, sizes in found]) for n in used]
    words = [size_words(found[0][1][n]) for n in used]
    axes.set_xticks(range(len(used)), [f"{size}\nn {count}" for size, count in zip(words, counts, strict=True)])
    axes.set(xlim=(-0.5, len(used) - 0.5), ylim=(0, 1))
    axes.set_ylabel("share of lesions found", color=INK, size=8.5)
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(4, len(found)), fontsize=7.5, frameon=False)
    return figure


def _span(counts: Sequence[int]) -> str:
    """`68`, or `53 to 68` where losses were scored on different trainings."""
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def size_words(size: SizeClass) -> str:
    """`3 to 14.1 mm³`, `above 523.6 mm³`."""
    if not np.isfinite(size.up_to_mm3):
        return f"above {size.above_mm3:g} mm³"
    return f"up to {size.up_to_mm3:g} mm³" if size.above_mm3 == 0 else f"{size.above_mm3:g} to {size.up_to_mm3:g} mm³"
