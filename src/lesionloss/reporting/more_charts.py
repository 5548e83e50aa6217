"""Charts with one row per loss beside those of `charts`: ranks over resampled patients, and lesions found by size."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.reporting.charts import empty_rows
from lesionloss.reporting.palette import INK, MUTED, Style
from lesionloss.reporting.ranks import Ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ranks_chart(ranks: Ranks, looks: Mapping[str, Style]) -> "Figure":
    """Every rank's share of the resamples as a disc of that area; a line at the mean rank."""
    notes = [
        f"mean rank {mean:.1f}, first in {100 * share[0]:.0f} %"
        for mean, share in zip(ranks.mean, ranks.share, strict=True)
    ]
    figure, axes = empty_rows(list(ranks.losses), notes)
    places = np.arange(1, len(ranks.losses) + 1)
    for row, (loss, share, mean) in enumerate(zip(ranks.losses, ranks.share, ranks.mean, strict=True)):
        seen = np.array(share) > 0
        sizes = 230 * np.array(share)[seen]
        axes.scatter(places[seen], np.full(int(seen.sum()), row + 0.1), s=sizes, color=looks[loss].colour, linewidth=0)
        axes.plot([mean, mean], [row - 0.1, row + 0.3], color=INK, linewidth=1.2)
    axes.set_xlim(0.5, len(ranks.losses) + 0.5)
    axes.set_xticks(places)
    axes.set_xlabel(f"rank, 1 is best ({ranks.patients} patients, resampled)")
    return figure


def detection_chart(found: Sequence[tuple[str, Sequence[SizeClass]]], looks: Mapping[str, Style]) -> "Figure":
    """Share of reference lesions found, by size, smallest on the left; the number is how many lesions there were."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(found))
    for number, (loss, classes) in enumerate(found):
        places = np.arange(len(classes)) + (number - (len(found) - 1) / 2) * width
        shares = [each.found / each.lesions if each.lesions else 0.0 for each in classes]
        axes.bar(places, shares, width=0.86 * width, color=looks[loss].colour, label=loss)
    classes = found[0][1]
    axes.set_xticks(np.arange(len(classes)), [f"{size_words(each)}\nn {each.lesions}" for each in classes])
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of lesions found", color=INK, size=8.5)
    axes.tick_params(colors=MUTED, labelsize=8)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(4, len(found)), fontsize=7.5, frameon=False)
    return figure


def size_words(size: SizeClass) -> str:
    """`3 to 14.1 mm³`, `above 523.6 mm³`."""
    if not np.isfinite(size.up_to_mm3):
        return f"above {size.above_mm3:g} mm³"
    return f"up to {size.up_to_mm3:g} mm³" if size.above_mm3 == 0 else f"{size.above_mm3:g} to {size.up_to_mm3:g} mm³"
