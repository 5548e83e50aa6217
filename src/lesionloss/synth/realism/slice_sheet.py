"""Whole slices of some real and some synthetic patients side by side, in an order that does not tell which is which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.files import atomic_file
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Mask

SHOWN = 2  # patients of either kind
_HEIGHT = 0.62  # of the brain, where ventricles, white matter and cortex are all seen
_THICK = 1.5  # slices are drawn across an axis whose spacing is so many times the finest, else across the last
_MARGIN = 3  # pixels around the brain
_WINDOWS = ((-2.6, 2.4), (-2.6, 2.4), (-1.5, 1.5))  # z: visits and their difference


@dataclass(frozen=True, eq=False)
class Slice:
    """Baseline, follow-up and difference of one slice (3, h, w), NaN outside the brain.

    `aspect` is the height over the width of a pixel.
    """

    case: str
    real: bool
    images: NDArray[np.float32]
    aspect: float


def slice_of(case: PreparedCase, *, real: bool) -> Slice:
    """Take the slice at 62 % of the brain's height, cropped to the brain."""
    spacing = np.array(case.spacing_mm)
    across = int(np.argmax(spacing)) if spacing.max() > _THICK * spacing.min() else len(spacing) - 1
    others = tuple(axis for axis in range(3) if axis != across)
    low, high = np.flatnonzero(case.brain.any(axis=others))[[0, -1]]
    upwards = case.affine[2, across] >= 0
    at = round(float(low + (high - low) * (_HEIGHT if upwards else 1 - _HEIGHT)))
    brain = np.asarray(case.brain.take(at, axis=across))
    window = (_span(brain, 1), _span(brain, 0))
    images = [np.where(brain, image.take(at, axis=across), np.nan)[window] for image in case.image]
    first, second = spacing[list(others)]
    return Slice(
        case.name, real, np.stack([np.rot90(image) for image in images]).astype(np.float32), float(second / first)
    )


def _span(brain: Mask, axis: int) -> slice:
    """Find where the brain lies along the other axis, with a margin."""
    first, last = np.flatnonzero(brain.any(axis=axis))[[0, -1]]
    return slice(max(0, int(first) - _MARGIN), int(last) + 1 + _MARGIN)


def shuffled(slices: Sequence[Slice]) -> list[Slice]:
    """Order slices in a repeatable way that does not depend on their kind."""
    names = "/".join(shown.case for shown in slices)
    return [slices[index] for index in numpy_generator("slices", names).permutation(len(slices))]


def write_slices(slices: Sequence[Slice], file: Path) -> None:
    """Draw one column for each slice: baseline, follow-up, difference; nothing says which are real."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3 * len(slices), 3 * 4.2), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, len(slices), squeeze=False)
    for column, shown in zip(panels.T, slices, strict=True):
        for axes, image, (low, high) in zip(column, shown.images, _WINDOWS, strict=True):
            axes.set_axis_off()
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=shown.aspect, interpolation="bilinear")
    with atomic_file(file) as temporary:
        figure.savefig(temporary, dpi=80, facecolor="black")
