"""The probability of lesion in colours, for each loss in the same slice, with its histogram."""

from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.palette import INK, MUTED, OUTLINE, PROBABILITY, TRUE_POSITIVE
from lesionloss.core.slice_pictures import Pixels, enlarged, outlined, with_reference
from lesionloss.report.case_slices import CaseSlice, Frame, LossSlice
from lesionloss.report.picture_sheets import Cell, Column, Painter, SheetWords, filled_key, outline_key, picture_sheet
from lesionloss.report.probability_maps import BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTSIDE = 150  # the grey outside the brain
ALL_VOXELS = "#b9c0c8"


def heat_map(shown: CaseSlice, each: LossSlice, frame: Frame) -> Pixels:
    """The probabilities of a loss in colours, grey outside the brain, with the outline of the reference."""
    from matplotlib import colormaps

    values = enlarged(each.probability, frame.field, frame.pixel_mm)
    pixels = (colormaps[PROBABILITY](values.clip(0, 1))[..., :3] * 255).round().astype(np.uint8)
    if shown.brain.any():
        pixels[enlarged(shown.brain, frame.field, frame.pixel_mm) < 0.5] = OUTSIDE
    return outlined(pixels, shown.reference > 0, frame.field, frame.pixel_mm, OUTLINE)


def heat_stops() -> tuple[str, ...]:
    """The colours of the probabilities 0, .1 and so on to 1, as #rrggbb."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return tuple(to_hex(colormaps[PROBABILITY](step / 10)) for step in range(11))


def probability_words(shown: CaseSlice) -> str:
    """The caption."""
    return (
        f"{shown.chosen} Colours: predicted probability of "
        f"{'any class' if shown.several else 'lesion'}, from 0 (black) to 1 (pale yellow). Histograms: voxels "
        f"of the {shown.whole} over the predicted probability in 20 bins, on a logarithmic scale."
    )


def probability_figure(shown: CaseSlice) -> "Figure":
    """Image and reference, then a map and a histogram for each trained loss."""
    last = shown.images[-1][0]
    marked = [
        with_reference(shown.grey(frame), shown.reference > 0, frame.field, frame.pixel_mm) for frame in shown.frames
    ]
    columns = [
        Column(last, tuple(Cell(shown.grey(frame)) for frame in shown.frames)),
        Column("Reference", tuple(map(Cell, marked))),
    ]
    trained = [each for each in shown.losses if each.trained]
    for each in trained:
        maps = [Cell(heat_map(shown, each, frame)) for frame in shown.frames]
        maps[-1] = Cell(maps[-1].picture, each.note)
        columns.append(Column(each.loss, (*maps, Cell(_histogram(shown, each)))))
    words = SheetWords(
        caption=probability_words(shown),
        rows=(*(frame.name for frame in shown.frames), "voxels"),
        keys=(
            outline_key("outline of the reference"),
            filled_key(ALL_VOXELS, "all voxels"),
            filled_key(TRUE_POSITIVE, "lesion voxels of the reference"),
        ),
        sides=not shown.flat,
        bar=f"probability of {'any class' if shown.several else 'lesion'}",
    )
    return picture_sheet(columns, words)


def _histogram(shown: CaseSlice, each: LossSlice) -> Painter:
    counted = shown.counted & shown.brain if shown.brain.any() else shown.counted
    edges = np.linspace(0, 1, BINS + 1)
    groups = ((counted, ALL_VOXELS), (counted & (shown.reference > 0), TRUE_POSITIVE))

    def paint(axes: "Axes") -> None:
        for voxels, colour in groups:
            counts = np.histogram(each.probability[voxels], edges)[0]
            axes.bar(edges[:-1], counts, width=1 / BINS, align="edge", color=colour, linewidth=0)
        axes.set_yscale("log")
        axes.set(xlim=(0, 1), ylim=(0.8, 2 * counted.sum()), xticks=[0, 0.5, 1], xticklabels=["0", ".5", "1"])
        axes.set(yticks=(tops := [1, 10 ** int(np.log10(max(10, counted.sum())))]), yticklabels=map(str, tops))
        axes.minorticks_off()
        axes.tick_params(colors=MUTED, labelsize=5.5, length=1.5, pad=1)
        for side in ("right", "top"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set(color=INK, linewidth=0.4)

    return paint
