"""The pictures of docs/statistics.md: what the folds show that patients do not, and what a margin decides.

python benchmarks/evidence_pictures.py docs/images
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.evidence import mean_interval
from lesionloss.statistics.new_training_runs import fold_interval, fold_spread

FOLDS, PATIENTS = 5, 20
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
VERDICTS = {
    "better": (0.008, 0.052),
    "worse": (-0.046, -0.006),
    "equivalent": (-0.006, 0.007),
    "undecided, but not worse": (-0.007, 0.028),
    "undecided": (-0.028, 0.036),
}


def folds() -> Figure:
    """Two equal losses: patients alone exclude 0, the folds do not."""
    draw = numpy_generator("picture", "folds", 3)
    effects = np.array([0.035, 0.02, 0.03, -0.012, 0.012])
    parts = [effect + 0.012 * draw.normal(size=PATIENTS // FOLDS) for effect in effects]
    values, spread = np.concatenate(parts), fold_spread([parts])
    figure = Figure(figsize=(6.4, 2.6))
    axes = figure.add_axes((0.02, 0.2, 0.96, 0.72))
    axes.axvline(0, color=MUTED, linewidth=1)
    for fold, part in enumerate(parts):
        axes.plot(part, np.full(len(part), 4.4 - 0.45 * fold), "o", color=COLOURS[fold], markersize=5, alpha=0.6)
        axes.plot([part.mean()], [4.4 - 0.45 * fold], "|", color=COLOURS[fold], markersize=16, markeredgewidth=2.5)
    rows = {
        1.5: (mean_interval(values), "over patients: these networks differ", 5),
        0.7: (fold_interval(float(values.mean()), spread, 0.95), "over folds: the losses may be equal", 1.6),
    }
    for height, (bounds, words, width) in rows.items():
        if bounds is not None:
            axes.plot([bounds.low, bounds.high], [height] * 2, color=INK, linewidth=width, solid_capstyle="butt")
            axes.text(bounds.high + 0.002, height, words, va="center", size=9, color=INK)
        axes.plot([values.mean()], [height], "s", color=INK, markersize=6)
    axes.text(-0.033, 4.4, "patients of five folds;\nbars: means of the folds", va="top", size=9, color=INK)
    _finish(axes, "difference of two equal losses (Dice)", (-0.034, 0.084), (0.2, 4.9))
    return figure


def margin() -> Figure:
    """The interval that decides, and the verdict, with a margin of .01."""
    figure = Figure(figsize=(6.4, 2.4))
    axes = figure.add_axes((0.02, 0.21, 0.96, 0.75))
    axes.axvspan(-0.01, 0.01, color=LINE, alpha=0.7, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    for row, (verdict, (low, high)) in enumerate(VERDICTS.items()):
        height = len(VERDICTS) - row
        axes.plot([low, high], [height] * 2, color=INK, linewidth=2)
        axes.plot([(low + high) / 2], [height], "s", color=INK, markersize=6)
        axes.text(0.06, height, verdict, va="center", size=9, color=INK)
    axes.text(0, 0.25, "± margin", ha="center", va="center", size=8.5, color=INK)
    _finish(axes, "difference from the baseline (Dice), simultaneous 95 % interval", (-0.055, 0.105), (0, 5.5))
    return figure


def _finish(axes: Axes, words: str, width: tuple[float, float], height: tuple[float, float]) -> None:
    axes.set_xlim(*width)
    axes.set_ylim(*height)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", colors=MUTED, labelsize=8)
    axes.set_xlabel(words, size=9, color=INK)


if __name__ == "__main__":
    for name, picture in (("folds", folds), ("margin", margin)):
        picture().savefig(Path(sys.argv[1]) / f"statistics-{name}.png", dpi=130, metadata={"Software": None})
