"""The pictures of docs/explanation/statistics.md, one for each rule that a picture can show.

python benchmarks/evidence_pictures.py docs/images
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesionloss.core.palette import INK, LINE, MUTED
from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.evidence import ALPHA, Interval, mean_interval
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
            axes.text(max(bounds.high, 0.0) + 0.002, height, words, va="center", size=9, color=INK)
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


def patients() -> Figure:
    """Eight patients, ten seeds: 80 scores are not 80 patients."""
    draw = numpy_generator("picture", "patients", 1)
    values = 0.012 + 0.03 * draw.normal(size=8)
    scores = values[:, None] + 0.004 * draw.normal(size=(8, 10))
    figure, axes = _axes()
    for patient, own in enumerate(scores):
        axes.plot(own, np.full(10, 4.6 - 0.3 * patient), "o", color=COLOURS[patient % 5], markersize=3, alpha=0.6)
    _interval(axes, 1.3, mean_interval(scores.mean(axis=1)), "8 patients: right")
    _interval(axes, 0.5, mean_interval(scores.ravel()), "80 scores: too narrow")
    axes.text(-0.085, 4.7, "each row: one patient,\nten seeds", va="top", size=9, color=INK)
    _finish(axes, "difference of two losses (Dice)", (-0.09, 0.13), (0, 5))
    return figure


def one_seed() -> Figure:
    """Two equal losses trained anew with other seeds: the interval over patients is somewhere else each time."""
    draw = numpy_generator("picture", "seeds", 4)
    common = 0.02 * draw.normal(size=20)
    figure, axes = _axes()
    for seed in range(6):
        found = common - common.mean() + 0.012 * draw.normal() + 0.006 * draw.normal(size=20)
        bounds = mean_interval(found)
        wrong = bounds is not None and not bounds.low <= 0 <= bounds.high
        _interval(axes, 5.4 - 0.9 * seed, bounds, f"seed {seed + 1}{': excludes 0' if wrong else ''}")
    _finish(axes, "difference of two equal losses (Dice), 95 % interval over patients", (-0.045, 0.065), (0.3, 6))
    return figure


def several_losses() -> Figure:
    """How often some of several equal losses would be called different, with and without correction."""
    figure, axes = _axes()
    losses = np.arange(1, 21)
    axes.plot(losses, 100 * (1 - 0.95**losses), color=COLOURS[1], linewidth=2)
    axes.plot(losses, 100 * (1 - (1 - 0.05 / losses) ** losses), color=COLOURS[0], linewidth=2)
    axes.text(20.4, 64, "each at 5 %", va="center", size=9, color=COLOURS[1])
    axes.text(20.4, 5, "corrected for\nall planned", va="center", size=9, color=COLOURS[0])
    _finish(axes, "number of comparisons of equal losses (independent ones)", (0, 26), (-4, 70))
    _percent(axes, "any wrong verdict")
    return figure


def failures() -> Figure:
    """The failure rate that is not excluded when no failure was seen, by number of patients."""
    figure, axes = _axes()
    counts = np.arange(3, 101)
    axes.plot(counts, 100 * (1 - ALPHA ** (1 / counts)), color=INK, linewidth=2)
    for count in (8, 20, 40):
        rate = 100 * (1 - ALPHA ** (1 / count))
        axes.plot([count], [rate], "o", color=COLOURS[1], markersize=6)
        axes.text(count + 1.5, rate + 2, f"{count} patients: up to {rate:.0f} %", size=9, color=INK)
    _finish(axes, "patients without a failure", (0, 101), (0, 66))
    _percent(axes, "failures still possible")
    return figure


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 2.4))
    return figure, figure.add_axes((0.02, 0.21, 0.96, 0.75))


def _interval(axes: Axes, height: float, bounds: Interval | None, words: str) -> None:
    if bounds is not None:
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.plot([bounds.low, bounds.high], [height] * 2, color=INK, linewidth=2)
        axes.plot([(bounds.low + bounds.high) / 2], [height], "s", color=INK, markersize=5)
        axes.text(max(bounds.high, 0.0) + 0.002, height, words, va="center", size=9, color=INK)


def _percent(axes: Axes, words: str) -> None:
    axes.set_position((0.1, 0.21, 0.88, 0.75))
    axes.set_yticks([0, 20, 40, 60], ["0 %", "20 %", "40 %", "60 %"])
    axes.tick_params(axis="y", colors=MUTED, labelsize=8)
    axes.set_ylabel(words, size=9, color=INK)


PICTURES = {
    "patients": patients,
    "folds": folds,
    "one-seed": one_seed,
    "several-losses": several_losses,
    "failures": failures,
    "margin": margin,
}


def _finish(axes: Axes, words: str, width: tuple[float, float], height: tuple[float, float]) -> None:
    axes.set_xlim(*width)
    axes.set_ylim(*height)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="x", colors=MUTED, labelsize=8)
    axes.set_xlabel(words, size=9, color=INK)


if __name__ == "__main__":
    for name, picture in PICTURES.items():
        picture().savefig(Path(sys.argv[1]) / f"statistics-{name}.png", dpi=130, metadata={"Software": None})
