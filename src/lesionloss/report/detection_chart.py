"""Lesions found by their size, as a chart for a paper."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.report.loss_styles import LossStyle

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def detection_chart(found: Sequence[tuple[str, Sequence[SizeClass]]], styles: Mapping[str, LossStyle]) -> "Figure":
    """Share of reference lesions found by size, the smallest on the left; below each size the number of lesions."""
    from matplotlib.figure import Figure

    lines = -(-len(found) // 4)
    figure = Figure(figsize=(7.2, 2.7 + 0.2 * lines), layout="constrained")
    axes = figure.subplots()
    used = [n for n in range(len(found[0][1])) if any(sizes[n].lesions for _, sizes in found)]
    width = 0.8 / max(1, len(found))
    for number, (loss, sizes) in enumerate(found):
        places = np.arange(len(used)) + (number - (len(found) - 1) / 2) * width
        shares = [sizes[n].found / sizes[n].lesions if sizes[n].lesions else np.nan for n in used]
        style = styles[loss]
        axes.vlines(places, 0, shares, color=style.colour, alpha=0.35, linewidth=2.2)
        axes.plot(places, shares, style.mark, color=style.colour, markersize=6, label=loss, clip_on=False)
    counts = [_span([sizes[n].lesions for _, sizes in found]) for n in used]
    words = [size_words(found[0][1][n]) for n in used]
    axes.set_xticks(range(len(used)), [f"{size}\nn {count}" for size, count in zip(words, counts, strict=True)])
    axes.set(xlim=(-0.5, len(used) - 0.5), ylim=(0, 1))
    axes.set_xlabel("volume of the lesion, with the number n of lesions", color=INK, size=8.5)
    axes.set_ylabel("share of lesions found", color=INK, size=8.5)
    axes.tick_params(colors=MUTED, labelsize=8)
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(4, len(found)), fontsize=7.5, frameon=False)
    return figure


def _span(counts: Sequence[int]) -> str:
    """`68`, or `53 to 68` if losses were scored on different training runs."""
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def size_words(size: SizeClass) -> str:
    """`3 to 14.1 mm³`, `above 523.6 mm³`."""
    if not np.isfinite(size.up_to_mm3):
        return f"above {size.above_mm3:g} mm³"
    return f"up to {size.up_to_mm3:g} mm³" if size.above_mm3 == 0 else f"{size.above_mm3:g} to {size.up_to_mm3:g} mm³"
