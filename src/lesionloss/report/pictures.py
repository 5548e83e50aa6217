"""Chosen cases in pictures: the same slice of the same case for every loss, with its errors and probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lesionloss.core.slice_pictures import Pixels, framed, with_reference
from lesionloss.report.case_slices import CaseSlice
from lesionloss.report.picture_sheets import Cell, Column, SheetWords, error_keys, outline_key, picture_sheet
from lesionloss.report.probability_pictures import heat_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOTES = {"Baseline": "first visit", "Follow-up": "second visit"}


@dataclass(frozen=True)
class PictureTile:
    """A picture for each frame of the slice, with a name and a note; without pictures, the note says why.

    `heat`: the probabilities in the frame with details; None for masks.
    """

    name: str
    note: str
    pictures: tuple[Pixels, ...]
    heat: Pixels | None = None


def image_tiles(shown: CaseSlice) -> tuple[PictureTile, ...]:
    """The images of the case, and the reference on the last of them."""
    last = shown.images[-1][0]
    tiles = []
    for title, _ in shown.images:
        note, pictures = _NOTES.get(title, ""), [shown.grey(frame, title) for frame in shown.frames]
        if title == last and len(shown.frames) == 2:
            whole, close = shown.frames
            pictures[0] = framed(pictures[0], whole.field, close.field, whole.pixel_mm)
            note = f"{note}, framed: close-up".removeprefix(", ")
        tiles.append(PictureTile(title, note, tuple(pictures)))
    marked = [
        with_reference(shown.grey(frame), shown.reference > 0, frame.field, frame.pixel_mm) for frame in shown.frames
    ]
    return (*tiles, PictureTile("Reference", f"on the {last.lower()}", tuple(marked)))


def loss_tiles(shown: CaseSlice) -> tuple[PictureTile, ...]:
    """The errors of each loss and its probabilities; losses without a prediction come last."""
    found = [
        PictureTile(
            each.loss,
            each.note,
            tuple(shown.errors(each, frame) for frame in shown.frames),
            heat_map(shown, each, shown.frames[-1]) if each.trained else None,
        )
        for each in shown.losses
    ]
    return (*found, *(PictureTile(loss, reason, ()) for loss, reason in shown.absent.items()))


def error_words(shown: CaseSlice) -> str:
    """What the colours of errors mean, and the threshold."""
    wrong = ", another class than in the reference chequered (purple)" if shown.several else ""
    return (
        f"True positives are filled (green), false positives striped (orange), false negatives outlined (blue){wrong}; "
        f"{shown.decision}."
    )


def case_words(shown: CaseSlice) -> str:
    """The caption of one case."""
    closer = "" if len(shown.frames) == 1 else " Of each, the slice and a close-up of its largest lesion."
    heat = (
        f" In colours: the predicted probability of {'any class' if shown.several else 'lesion'}, from 0 (black) to 1 "
        "(pale yellow), with the outline of the reference."
        if any(each.trained for each in shown.losses)
        else ""
    )
    return f"{shown.chosen}{closer} {error_words(shown)}{heat}"


def case_figure(shown: CaseSlice) -> "Figure":
    """Images, reference and the errors of all losses: whole slices, close-ups, probabilities."""
    tiles = [tile for tile in (*image_tiles(shown), *loss_tiles(shown)) if tile.pictures]
    columns = []
    for tile in tiles:
        pictures = list(tile.pictures)
        if tile.heat is not None:
            pictures.append(tile.heat)
        columns.append(Column(tile.name, (*map(Cell, pictures[:-1]), Cell(pictures[-1], tile.note))))
    probable = any(tile.heat is not None for tile in tiles)
    rows = (*(frame.name for frame in shown.frames), *(("probability",) if probable else ()))
    words = SheetWords(
        caption=case_words(shown),
        rows=rows if len(rows) > 1 else (),
        keys=(*error_keys(several=shown.several), *((outline_key("outline of the reference"),) if probable else ())),
        sides=not shown.flat,
        bar=f"probability of {'any class' if shown.several else 'lesion'}" if probable else "",
    )
    return picture_sheet(columns, words)


def cases_words(slices: Sequence[CaseSlice]) -> str:
    """The caption of several cases."""
    places = "; ".join(f"{shown.role}: {shown.place}" for shown in slices)
    close = "" if slices[0].several else " or a close-up of its largest lesion"
    what = "" if slices[0].flat else f" Of each the slice with most lesion{close}."
    return f"{places[0].upper()}{places[1:]}, {slices[0].rule}.{what} {error_words(slices[0])}"


def cases_figure(slices: Sequence[CaseSlice]) -> "Figure":
    """A row for each case: image, reference, and the errors of each loss."""
    first: list[list[Cell]] = [[], []]
    losses: dict[str, list[Cell]] = {each.loss: [] for shown in slices for each in shown.losses}
    for shown in slices:
        frame, predicted = shown.detail, {each.loss: each for each in shown.losses}
        marked = with_reference(shown.grey(frame), shown.reference > 0, frame.field, frame.pixel_mm)
        for cells, picture in zip(first, (shown.grey(frame), marked), strict=True):
            cells.append(Cell(picture))
        for loss, cells in losses.items():
            each = predicted.get(loss)
            cells.append(Cell() if each is None else Cell(shown.errors(each, frame), each.note))
    names = (slices[0].images[-1][0], "Reference", *losses)
    columns = [Column(name, tuple(cells)) for name, cells in zip(names, (*first, *losses.values()), strict=True)]
    words = SheetWords(
        caption=cases_words(slices),
        rows=tuple(shown.role for shown in slices),
        keys=error_keys(several=slices[0].several),
        sides=not slices[0].flat,
    )
    return picture_sheet(columns, words)
