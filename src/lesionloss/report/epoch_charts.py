"""All losses of a run in one panel: curves over epochs by split and fold, and the scores of single training runs."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.number_text import decimals_for, number
from lesionloss.core.palette import INK
from lesionloss.report.history import SPLITS, CurveBand
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.row_charts import (
    FRAME_INCHES,
    KEY_INCHES,
    ROW_INCHES,
    SIDE_INCHES,
    VIOLIN_FROM,
    add_key,
    row_axes,
    short_name,
    spread,
    violin,
)
from lesionloss.report.small_multiples import RANGE_KEY, LegendKey, add_legend, number_steps, panel_axes
from lesionloss.report.training_runs import TrainingRunScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = (3.3, 2.35)
LEGEND_COLUMNS = 3
FIRST_COLUMN_INCHES, COLUMN_INCHES = 4.0, 2.8  # the names of the losses are in the first, which long names widen
CHARACTER_INCHES = 0.078  # of a name or a note, on average
RUNS_KEY = (
    "Point: a training run (fold and seed). Tick: mean.\n"
    f"Text: mean (lowest to highest). Shape: density, from {VIOLIN_FROM} runs on."
)
MARKS = 6  # on each curve, to tell apart losses of the same colour


def epochs_chart(bands: Sequence[CurveBand], styles: Mapping[str, LossStyle], title: str) -> "Figure":
    """One panel for each split with the curves of all losses, one row of panels for each fold in `bands`.

    Mean over training runs as a line, with the range from lowest to highest; all panels have the same scale.
    """
    from matplotlib.figure import Figure

    splits = list(dict.fromkeys(band.split for band in bands))
    splits = [*(split for split in SPLITS if split in splits), *(split for split in splits if split not in SPLITS)]
    folds = list(dict.fromkeys(band.fold for band in bands))
    losses = list(dict.fromkeys(band.loss for band in bands))
    width, height = PANEL_INCHES
    foot, top = 0.2 * math.ceil((len(losses) + 1) / LEGEND_COLUMNS) + 0.15, 0.24
    figure = Figure(figsize=(len(splits) * width, len(folds) * height + foot + top))
    low, high = min(min(band.low) for band in bands), max(max(band.high) for band in bands)
    room = 0.04 * (high - low) or 0.5
    for row, fold in enumerate(folds):
        for column, split in enumerate(splits):
            bottom = (len(folds) - 1 - row) * height + foot
            axes = panel_axes(figure, (column * width, bottom, width, height))
            mine = [band for band in bands if band.split == split and band.fold == fold]
            for shift, band in enumerate(mine):
                _curve(axes, band, styles[band.loss], shift)
            number_steps(axes)
            axes.set_ylim(low - room, high + room)
            axes.set_xlabel("epoch")
            axes.set_ylabel(title if fold is None else f"{title}, fold {fold}")
            if row == 0:
                axes.set_title(SPLITS.get(split, split), size=8.5, color=INK)
    keys = [LegendKey(loss, 1.6, colour=styles[loss].colour, mark=styles[loss].mark) for loss in losses]
    add_legend(figure, [*keys, RANGE_KEY], LEGEND_COLUMNS)
    return figure


def _curve(axes: "Axes", band: CurveBand, style: LossStyle, shift: int) -> None:
    step = max(1, len(band.place) // MARKS)
    axes.fill_between(band.place, band.low, band.high, color=style.colour, alpha=0.12, linewidth=0)
    axes.plot(
        band.place,
        band.mean,
        color=style.colour,
        linewidth=1.5,
        marker=style.mark,
        markersize=4,
        markevery=(shift % step, step),
    )


def training_runs_chart(runs: Sequence[TrainingRunScore], styles: Mapping[str, LossStyle], title: str) -> "Figure":
    """The mean of each training run as a point over a violin, one row for each loss, one column for each split."""
    from matplotlib.figure import Figure

    splits, losses = (list(dict.fromkeys(getattr(run, name) for run in runs)) for name in ("split", "loss"))
    head = 0.3
    height = head + FRAME_INCHES + ROW_INCHES * len(losses) + 2 * KEY_INCHES
    decimals = decimals_for(run.mean for run in runs)
    longest = max(map(len, map(short_name, losses))) + len(_note(np.array([run.mean for run in runs]), decimals))
    first = max(FIRST_COLUMN_INCHES, 2 * SIDE_INCHES + CHARACTER_INCHES * longest)
    lefts = [0.0] + [first + COLUMN_INCHES * n for n in range(len(splits))]
    figure = Figure(figsize=(lefts[-1], height))
    low, high = min(run.mean for run in runs), max(run.mean for run in runs)
    room = 0.06 * (high - low) or 0.5
    for split, (left, right) in zip(splits, pairwise(lefts), strict=True):
        of = {loss: np.array([r.mean for r in runs if (r.split, r.loss) == (split, loss)]) for loss in losses}
        names = losses if left == 0 else [""] * len(losses)
        place = (left, 2 * KEY_INCHES, right - left, height - head - 2 * KEY_INCHES)
        axes = row_axes(figure, place, names, [_note(values, decimals) for values in of.values()])
        for row, (loss, values) in enumerate(of.items()):
            if len(values):
                _runs(axes, row, values, styles[loss], f"{title} {split}")
        axes.set_xlim(low - room, high + room)
        axes.set_xlabel(title)
        x, y = (left + SIDE_INCHES) / lefts[-1], 1 - 0.16 / height
        figure.text(x, y, SPLITS.get(split, split), size=9, color=INK)
    add_key(figure, RUNS_KEY)
    return figure


def _runs(axes: "Axes", row: int, values: NDArray[np.float64], style: LossStyle, name: str) -> None:
    if len(values) >= VIOLIN_FROM and np.ptp(values) > 0:
        violin(axes, row, values, style)
    axes.plot(
        values,
        row + spread(len(values), name),
        style.mark,
        color=style.colour,
        alpha=0.7,
        markersize=3.6,
        markeredgewidth=0,
    )
    axes.plot([values.mean()] * 2, [row - 0.12, row + 0.3], color=INK, linewidth=1.4)


def _note(values: NDArray[np.float64], decimals: int) -> str:
    if not len(values):
        return "n 0"
    low, mean, high = (number(float(of(values)), decimals) for of in (np.min, np.mean, np.max))
    return f"{mean} ({low} to {high}), n {len(values)}"
