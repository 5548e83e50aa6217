"""What top-k Dice leaves out of a slice (Hosseini 2024, figures 1 and 2), for each loss."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.number_text import number
from lesionloss.core.palette import INK, LINE, MUTED, REFERENCE
from lesionloss.core.slice_pictures import Pixels, filled, label_map
from lesionloss.report.case_slices import CaseSlice, Frame, LossSlice
from lesionloss.report.loss_cards import LossCard
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.picture_sheets import (
    NOTE_LINE,
    Cell,
    Column,
    SheetWords,
    caption_lines,
    class_keys,
    filled_key,
    picture_sheet,
    write_caption,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT_K = 50.0  # percent; that of the paper
SHARES = tuple(range(100, 9, -10))
SHOWN_SHARES = (100, 90, 50, 30, 10)  # those of figure 2
LEFT_OUT = "#ffffff"
DARKER = 0.45  # so that white and pale colours differ from bright lesions


def run_k(cards: Sequence[LossCard]) -> float:
    """The k of the first loss of the run with a top-k Dice term, in percent; 50 without any."""
    terms = (term for card in cards for term in card.terms if term.name == "topk_dice")
    return next((float(value) for term in terms for key, value, _ in term.hyperparameters if key == "k"), DEFAULT_K)


def left_out(of_class: NDArray[np.float32], lesion: NDArray[np.bool_], k: float) -> NDArray[np.bool_]:
    """The lesion voxels of a class that top-k Dice leaves out: all but the k percent with the lowest probability.

    Args:
        of_class: The probability of the class (rows, columns).
        lesion: Where the reference has the class (rows, columns).
        k: Percent of these voxels that stay, rounded up.

    Returns:
        (rows, columns).
    """
    places = np.flatnonzero(lesion)
    order = places[np.argsort(of_class.ravel()[places], kind="stable")]
    easy = np.zeros(lesion.size, dtype=np.bool_)
    easy[order[math.ceil(round(k * len(order) / 100, 9)) :]] = True
    return easy.reshape(lesion.shape)


def hardest_dice(
    of_classes: NDArray[np.float32], labels: NDArray[np.uint8], counted: NDArray[np.bool_], k: float
) -> float:
    """Squared Dice without the easiest lesion voxels, the mean over the classes in the slice; NaN without any class.

    One minus it is the loss `topk_dice(k=k)` of the slice.

    Args:
        of_classes: The probability of each class (classes, rows, columns).
        labels: Class numbers of the reference (rows, columns).
        counted: False in ignored voxels (rows, columns).
        k: Percent of the lesion voxels of a class that stay.
    """
    scores = []
    for place, p in enumerate(of_classes):
        lesion = labels == place + 1
        if lesion.any():
            kept = counted & ~left_out(p, lesion, k)
            overlap = 2 * float((p * lesion).sum(where=kept, dtype=np.float64))
            scores.append(overlap / float((p.astype(np.float64) ** 2 + lesion).sum(where=kept)))
    return float(np.mean(scores)) if scores else math.nan


def can_rank(shown: CaseSlice) -> bool:
    """Whether the slice has lesion and the probabilities of its classes are known."""
    return bool(shown.reference.any()) and bool(_ranked(shown))


def _ranked(shown: CaseSlice) -> list[LossSlice]:
    return [each for each in shown.losses if each.trained and each.of_classes is not None]


def _easy(shown: CaseSlice, each: LossSlice, k: float) -> NDArray[np.bool_]:
    assert each.of_classes is not None
    numbers = range(1, len(shown.classes) + 1)
    maps = [left_out(each.of_classes[n - 1], shown.reference == n, k) for n in numbers]
    return np.asarray(np.any(maps, axis=0))


def _dark(shown: CaseSlice, frame: Frame) -> Pixels:
    return (shown.grey(frame) * DARKER).astype(np.uint8)


def _marked(shown: CaseSlice, labels: NDArray[np.uint8], frame: Frame) -> Pixels:
    if shown.several:
        return label_map(_dark(shown, frame), labels, frame.field, frame.pixel_mm)
    return filled(_dark(shown, frame), labels > 0, frame.field, frame.pixel_mm, REFERENCE, 0.95)


def _keys(shown: CaseSlice) -> tuple[object, ...]:
    return class_keys(shown.classes) if shown.several else (filled_key(REFERENCE, "reference"),)


def left_out_words(shown: CaseSlice, k: float) -> str:
    """The caption of the voxels left out."""
    return (
        f"{shown.chosen} Above, in white: the voxels of the reference that top-k Dice with k = {k:g} % leaves out, "
        f"because the prediction gives them the highest probabilities of their class in the {shown.whole}. "
        "Below: what stays."
    )


def left_out_figure(shown: CaseSlice, k: float) -> "Figure":
    """Image and reference, then for each loss the ignore map and the reference without it."""
    frame = shown.all_lesions
    columns = [
        Column(
            shown.images[-1][0], (Cell(shown.grey(frame)), Cell(_marked(shown, shown.reference, frame), "Reference"))
        )
    ]
    for each in _ranked(shown):
        easy = _easy(shown, each, k)
        stays = np.where(easy, 0, shown.reference).astype(np.uint8)
        ignore = filled(_dark(shown, frame), easy, frame.field, frame.pixel_mm, LEFT_OUT, 1)
        columns.append(Column(each.loss, (Cell(ignore), Cell(_marked(shown, stays, frame), each.note))))
    keys = (filled_key(LEFT_OUT, "left out"), *_keys(shown))
    words = SheetWords(left_out_words(shown, k), ("left out", "stays"), keys, sides=not shown.flat)
    return picture_sheet(columns, words)


def _what_dice(shown: CaseSlice) -> str:
    mean = ", mean over the classes" if shown.several else ""
    return (
        f"Of {'each class of ' if shown.several else ''}the reference, only the k % of voxels with the lowest "
        "predicted probability stay. Dice: squared Dice of the probabilities over all voxels of the "
        f"{shown.whole} but those left out{mean}."
    )


def hardest_words(shown: CaseSlice) -> str:
    """The caption of the pictures of the hardest voxels."""
    return f"{shown.chosen} Pictures: what stays of the reference. {_what_dice(shown)}"


def curve_words(shown: CaseSlice) -> str:
    """The caption of the curves."""
    return f"{shown.chosen} {_what_dice(shown)}"


def hardest_figure(shown: CaseSlice) -> "Figure":
    """Image and reference, then for each loss what stays of the reference at five k, with Dice."""
    frame = shown.all_lesions
    first = Column(
        shown.images[-1][0], (Cell(shown.grey(frame)), Cell(_marked(shown, shown.reference, frame), "Reference"))
    )
    columns = [first]
    for each in _ranked(shown):
        assert each.of_classes is not None
        cells = []
        for k in SHOWN_SHARES:
            stays = np.where(_easy(shown, each, k), 0, shown.reference).astype(np.uint8)
            dice = hardest_dice(each.of_classes, shown.reference, shown.counted, k)
            cells.append(Cell(_marked(shown, stays, frame), f"Dice {number(dice)}"))
        columns.append(Column(each.loss, tuple(cells)))
    rows = tuple(f"k = {k} %" for k in SHOWN_SHARES)
    return picture_sheet(columns, SheetWords(hardest_words(shown), rows, _keys(shown), sides=not shown.flat))


def hardest_curves(shown: CaseSlice, styles: Mapping[str, LossStyle]) -> "Figure":
    """Dice over the hardest k % of the lesion voxels, for k from 100 to 10, one line for each loss."""
    from matplotlib.figure import Figure

    ranked = _ranked(shown)
    names = [textwrap.fill(each.loss, 44) for each in ranked]
    longest = max(len(line) for name in names for line in name.splitlines())
    width = max(4.6, 3.5 + 0.5 + 0.058 * longest)
    caption = caption_lines(curve_words(shown), width)
    low = 0.5 + NOTE_LINE * len(caption)
    height = max(2.6, 0.17 * sum(name.count("\n") + 1 for name in names) + 0.2) + low
    figure = Figure(figsize=(width, height))
    write_caption(figure, caption)
    axes = figure.add_axes((0.5 / width, low / height, 2.8 / width, 1 - (low + 0.12) / height))
    for each, name in zip(ranked, names, strict=True):
        assert each.of_classes is not None
        values = [hardest_dice(each.of_classes, shown.reference, shown.counted, k) for k in SHARES]
        style = styles[each.loss]
        axes.plot(SHARES, values, color=style.colour, marker=style.mark, markersize=4, linewidth=1.4, label=name)
    axes.set(xlim=(103, 7), ylim=(0, 1.02), xticks=SHARES)
    axes.set_xlabel("k: hardest lesion voxels that stay [%]", size=8)
    axes.set_ylabel("squared Dice", size=8)
    axes.tick_params(colors=MUTED, labelsize=7)
    axes.grid(color=LINE, linewidth=0.5)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.03, 0.5), fontsize=7, frameon=False, labelcolor=INK)
    return figure
