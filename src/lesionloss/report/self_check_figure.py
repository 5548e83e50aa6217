"""The curve of a self-check: the share of synthetic lesions that a model found, by their volume."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from lesionloss.core.drawing import PNG_DPI, drawing_style
from lesionloss.core.files import atomic_file
from lesionloss.core.palette import CLASSES, INK, LINE, MUTED
from lesionloss.inference.self_check import SelfCheckRow
from lesionloss.statistics.evidence import share_interval

_COLOURS = (CLASSES[4], CLASSES[5], CLASSES[2], CLASSES[6], CLASSES[0], INK)
_MARKERS = "osD^vX"
_SHIFT = 1.06  # between the volumes of two contrasts, so that their intervals do not cover each other


def save_self_check(path: Path, rows: Sequence[SelfCheckRow], title: str) -> None:
    """Draw the shares with their 95 % intervals, a line for each contrast.

    Args:
        path: The PNG file.
        rows: Of a self-check.
        title: The model and the case.
    """
    from matplotlib.figure import Figure

    by_contrast = sorted(rows, key=lambda row: (row.contrast, row.volume_mm3))
    with drawing_style():
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, (contrast, group) in enumerate(groupby(by_contrast, key=lambda row: row.contrast)):
            points = list(group)
            shares = [100 * row.found / row.lesions for row in points]
            bounds = [share_interval(row.found, row.lesions) for row in points]
            low = [s - 100 * b.low if b else 0.0 for s, b in zip(shares, bounds, strict=True)]
            high = [100 * b.high - s if b else 0.0 for s, b in zip(shares, bounds, strict=True)]
            axes.errorbar(
                [row.volume_mm3 * _SHIFT**number for row in points],
                shares,
                yerr=(low, high),
                label=f"{contrast:g}",
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=5,
                linewidth=1.6,
                elinewidth=0.8,
            )
        volumes = sorted({row.volume_mm3 for row in rows})
        axes.set_xscale("log")
        axes.set_xticks(volumes, [f"{volume:g}" for volume in volumes], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_xlabel("volume of the lesion (mm³)")
        axes.set_ylabel("found (%), with 95 % interval")
        axes.set_ylim(-3, 103)
        axes.grid(color=LINE, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(title="contrast (standard\ndeviations of the brain)", frameon=False, loc="center left",
                    bbox_to_anchor=(1.0, 0.5), fontsize=9, title_fontsize=8)  # fmt: skip
        axes.set_title(title, fontsize=10, color=MUTED, loc="left")
        with atomic_file(path) as unfinished:
            figure.savefig(unfinished, format="png", dpi=PNG_DPI)
