"""The picture sheet: which slices it shows, and what is written beside them."""

import numpy as np

from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.predict.picture_sheet import SheetContent, sheet_figure

SHAPE = (24, 24, 12)


def case() -> PreparedCase:
    brain = np.zeros(SHAPE, bool)
    brain[2:-2, 2:-2, 1:-1] = True
    return PreparedCase(
        name="a",
        patient="a",
        image=np.zeros((2, *SHAPE), np.float32),
        channels=("baseline", "followup"),
        reference=np.zeros(SHAPE, np.uint8),
        brain=brain,
        affine=np.diag([2.0, 2.0, 2.0, 1.0]),
        offset=(0, 0, 0),
        original_shape=SHAPE,
    )


def words_beside(mask: np.ndarray) -> list[str]:
    content = SheetContent(case(), mask.astype(np.uint8), mask.astype(np.float32) * 0.75, "a: title", "m: net", False)
    figure = sheet_figure(content)
    assert "m: net" in [text.get_text() for text in figure.texts]
    return [words for axis in figure.axes if (words := axis.get_ylabel())]


def test_each_slice_is_shown_once_and_names_all_lesions_that_are_largest_in_it() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:8, 4:8, 5] = True  # lesion 1, 16 voxels of 8 mm³
    mask[14:17, 14:17, 5] = True  # lesion 2, in the same slice
    mask[14:16, 4:6, 8] = True  # lesion 3
    assert words_beside(mask) == [
        "slice 6 · lesion 1 (also 2): 128 mm³, p 0.75",
        "slice 9 · lesion 3: 32 mm³, p 0.75",
    ]


def test_without_lesions_the_slice_of_the_highest_probability_is_shown() -> None:
    assert words_beside(np.zeros(SHAPE, bool)) == ["slice 7 · no lesion; highest p 0.00"]
