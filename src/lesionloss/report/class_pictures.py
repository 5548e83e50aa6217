"""Each class in its own colour, and below where the prediction is wrong, for each loss in the same slice."""

from typing import TYPE_CHECKING

from lesionloss.core.slice_pictures import Labels, label_map
from lesionloss.report.case_slices import CaseSlice
from lesionloss.report.picture_sheets import Cell, Column, SheetWords, class_keys, error_keys, picture_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def class_words(shown: CaseSlice) -> str:
    """The caption."""
    return (
        f"{shown.chosen} Above: the class of each voxel ({shown.decision}). Below: right class (filled), false "
        "positive (striped), false negative (outlined), and another class than in the reference (chequered), which is "
        "wrong for both classes."
    )


def class_figure(shown: CaseSlice) -> "Figure":
    """Reference and image, then labels and errors of each loss."""
    frame = shown.detail
    grey = shown.grey(frame)

    def labels(of: Labels) -> Cell:
        return Cell(label_map(grey, of, frame.field, frame.pixel_mm))

    columns = [Column("Reference", (labels(shown.reference), Cell(grey, shown.images[-1][0])))]
    for each in shown.losses:
        columns.append(Column(each.loss, (labels(each.labels), Cell(shown.errors(each, frame), each.note))))
    keys = (*class_keys(shown.classes), *error_keys(several=True)[:-1])
    words = SheetWords(class_words(shown), ("classes", "errors"), keys, sides=not shown.flat)
    return picture_sheet(columns, words)
