"""Sheets of pictures for a paper: a column for each loss, with names, notes, keys and a caption inside the file."""

import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionloss.core.palette import (
    CLASSES,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    INK,
    LINE,
    OUTLINE,
    PROBABILITY,
    REFERENCE,
    TRUE_POSITIVE,
    WRONG_CLASS,
)
from lesionloss.core.slice_pictures import Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Painter = Callable[["Axes"], None]

COLUMN, GAP, MOST_COLUMNS = 1.5, 0.05, 6  # inches; more columns go below
TALLEST = 2.1  # a picture that is taller is narrower than its column
CHART = 0.8  # height of a painted cell
TITLE_LINE, NOTE_LINE = 0.13, 0.115
TITLE_SIZE, NOTE_SIZE = 7.5, 6.5
TITLE_LETTERS, NOTE_LETTERS = 25, 30  # that fit into a column
LETTERS = 20  # of the caption, in an inch
BAR = 0.42  # height of the colour bar with its numbers


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture, or what paints a chart, with a note below; nothing in an empty cell."""

    picture: Pixels | Painter | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Column:
    """A named column of cells."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SheetWords:
    """What is written beside the pictures.

    Attributes:
        caption: Which case and slice, and what colours mean.
        rows: A name for each row of cells, or none.
        keys: The keys of the colours; see `error_keys`.
        sides: Whether R and L mark the patient's right and left.
        bar: The title of the bar with the colours of probabilities; none if empty.
    """

    caption: str
    rows: tuple[str, ...] = ()
    keys: tuple[Any, ...] = ()
    sides: bool = False
    bar: str = ""


def error_keys(*, several: bool) -> tuple[Any, ...]:
    """The keys of errors and of the reference; of several classes also that of a wrong class."""
    from matplotlib.patches import Patch

    wrong = Patch(facecolor=WRONG_CLASS + "73", edgecolor=WRONG_CLASS, hatch="xxxxxx", label="wrong class")
    return (
        Patch(facecolor=TRUE_POSITIVE, label="true positive"),
        Patch(facecolor="white", edgecolor=FALSE_POSITIVE, hatch="//////", label="false positive"),
        Patch(facecolor=FALSE_NEGATIVE + "59", edgecolor=FALSE_NEGATIVE, linewidth=1.5, label="false negative"),
        *((wrong,) if several else ()),
        Patch(facecolor=REFERENCE, label="reference"),
    )


def class_keys(classes: Sequence[str]) -> tuple[Any, ...]:
    """The keys of classes, as `label_map` draws them."""
    from matplotlib.patches import Patch

    return tuple(
        Patch(
            facecolor=CLASSES[place % len(CLASSES)] if place < len(CLASSES) else "white",
            edgecolor=CLASSES[place % len(CLASSES)] if place >= len(CLASSES) else LINE,
            hatch="//////" if place >= len(CLASSES) else None,
            label=name,
        )
        for place, name in enumerate(classes)
    )


def filled_key(colour: str, name: str) -> Any:
    """The key of a filled area."""
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor=LINE, label=name)


def outline_key(name: str) -> Any:
    """The key of the outline of the reference."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=OUTLINE, linewidth=1.6, label=name)


def picture_sheet(columns: Sequence[Column], words: SheetWords) -> "Figure":
    """The columns side by side, wrapped where they are many."""
    from matplotlib.figure import Figure

    blocks = math.ceil(len(columns) / MOST_COLUMNS)
    wide = math.ceil(len(columns) / blocks)
    left = 0.24 if words.rows else 0.04
    width = max(left + wide * (COLUMN + GAP), 4.2)
    caption = caption_lines(words.caption, width)
    longest = max((len(key.get_label()) for key in words.keys), default=0)
    keys_wide = max(1, int((width - 0.1) // (0.45 + longest / LETTERS)))
    key_rows = math.ceil(len(words.keys) / keys_wide)
    below = (BAR if words.bar else 0.0) + 0.19 * key_rows + NOTE_LINE * len(caption) + 0.12
    shapes = [_Block.of(columns[start : start + wide]) for start in range(0, len(columns), wide)]
    height = below + sum(shape.height for shape in shapes)
    figure = Figure(figsize=(width, height))
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set_axis_off()
    top = height
    for shape in shapes:
        _draw_block(figure, canvas, shape, words, left, top)
        top -= shape.height
    canvas.set(xlim=(0, width), ylim=(0, height))
    at = write_caption(figure, caption)
    if words.keys:
        anchor = (0.5, (at + 0.02) / height)
        figure.legend(
            handles=list(words.keys),
            loc="lower center",
            bbox_to_anchor=anchor,
            ncols=keys_wide,
            fontsize=NOTE_SIZE,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.5,
            columnspacing=1.4,
        )
    if words.bar:
        _colour_bar(figure, words.bar, at + 0.19 * key_rows)
    return figure


def caption_lines(caption: str, width: float) -> list[str]:
    """The lines of a caption in a figure of so many inches."""
    return textwrap.wrap(caption, int((width - 0.1) * LETTERS))


def write_caption(figure: "Figure", lines: Sequence[str]) -> float:
    """Write the lines at the bottom of a figure; return how far up they reach, in inches."""
    width, height = figure.get_size_inches()
    at = 0.06
    for line in reversed(lines):
        figure.text(0.05 / width, at / height, line, size=NOTE_SIZE, va="bottom", color=INK)
        at += NOTE_LINE
    return at


@dataclass(frozen=True, eq=False)
class _Block:
    """Columns beside each other: their names, their rows of cells, and the heights of these parts in inches."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title_height: float
    heights: tuple[tuple[float, float], ...]  # of the cells of a row, of their notes

    @classmethod
    def of(cls, columns: Sequence[Column]) -> "_Block":
        rows = tuple(itertools.zip_longest(*(column.cells for column in columns), fillvalue=Cell()))
        notes = [NOTE_LINE * max(len(_lines(cell.note, NOTE_LETTERS)) for cell in row) + 0.06 for row in rows]
        return cls(
            names=tuple(column.name for column in columns),
            rows=rows,
            title_height=TITLE_LINE * max(len(_lines(column.name, TITLE_LETTERS)) for column in columns) + 0.08,
            heights=tuple((max(map(_height, row)), note) for row, note in zip(rows, notes, strict=True)),
        )

    @property
    def height(self) -> float:
        return self.title_height + sum(map(sum, self.heights))


def _height(cell: Cell) -> float:
    if isinstance(cell.picture, np.ndarray):
        return min(TALLEST, float(COLUMN * cell.picture.shape[0] / cell.picture.shape[1]))
    return 0.0 if cell.picture is None else CHART


def _lines(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, letters) if text else []


def _draw_block(figure: "Figure", canvas: "Axes", block: _Block, words: SheetWords, left: float, top: float) -> None:
    """Draw a block below `top`; the coordinates of `canvas` are inches of the figure."""
    lefts = [left + place * (COLUMN + GAP) for place in range(len(block.names))]
    y = top - block.title_height
    for x, name in zip(lefts, block.names, strict=True):
        title = "\n".join(_lines(name, TITLE_LETTERS))
        canvas.text(x + COLUMN / 2, y + 0.04, title, size=TITLE_SIZE, ha="center", color=INK)
    for row, (height, note_height) in enumerate(block.heights):
        if row < len(words.rows) and height:
            middle = y - height / 2
            canvas.text(0.12, middle, words.rows[row], size=NOTE_SIZE, rotation=90, ha="center", va="center")
        for x, cell in zip(lefts, block.rows[row], strict=True):
            _draw_cell(figure, canvas, cell, x, y, sides=words.sides)
            note = "\n".join(_lines(cell.note, NOTE_LETTERS))
            canvas.text(x + COLUMN / 2, y - height - 0.03, note, size=NOTE_SIZE, ha="center", va="top")
        y -= height + note_height


def _draw_cell(figure: "Figure", canvas: "Axes", cell: Cell, left: float, top: float, *, sides: bool) -> None:
    if cell.picture is None:
        return
    height = _height(cell)
    bottom, right = top - height, left + COLUMN
    if isinstance(cell.picture, np.ndarray):
        free = COLUMN - height * cell.picture.shape[1] / cell.picture.shape[0]
        left, right = left + free / 2, right - free / 2
        canvas.imshow(cell.picture, interpolation="none", aspect="auto", extent=(left, right, bottom, top))
        for at, side, align in ((left + 0.04, "R", "left"), (right - 0.04, "L", "right")) if sides else ():
            canvas.text(at, (top + bottom) / 2, side, color="white", size=NOTE_SIZE, ha=align, va="center")
        return
    wide, high = figure.get_size_inches()
    inside = ((left + 0.26) / wide, (bottom + 0.24) / high, (COLUMN - 0.32) / wide, (height - 0.3) / high)
    cell.picture(figure.add_axes(inside))


def _colour_bar(figure: "Figure", title: str, bottom: float) -> None:
    width, height = figure.get_size_inches()
    wide = min(2.6, width - 0.8)
    axes = figure.add_axes(((width - wide) / 2 / width, (bottom + 0.26) / height, wide / width, 0.1 / height))
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=PROBABILITY, aspect="auto", extent=(0, 1, 0, 1))
    axes.set(yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1], xticklabels=["0", ".25", ".5", ".75", "1"])
    axes.tick_params(labelsize=6, length=2, pad=1)
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)
    axes.set_title(title, size=NOTE_SIZE, pad=2)
