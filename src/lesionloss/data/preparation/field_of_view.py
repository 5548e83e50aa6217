"""Where two visits see the same tissue: what one of them did not image, or lost the signal of, counts for nothing.

A visit that was moved to the other's grid is empty outside its own field of view, and the signal of a slab fades over
its last slices. Both look like change to whatever compares the visits.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.data.preparation.case_state import PreparationState
from lesionloss.data.subject import Image, Mask
from lesionloss.data.volume import orientation

FADED = 0.7  # mean intensity of a slice over that of the other visit, both relative to their median slice
SLIVER = 0.05  # slices with fewer brain voxels than this share of the largest one's follow their neighbours
_OTHER_END = str.maketrans("RLAPSI", "LRPAIS")


def field_of_view(state: PreparationState) -> PreparationState:
    """Take out of the brain mask what lies outside the field of view of one of two visits.

    Raises:
        DataError: The visits have no brain in common.
    """
    if len(state.visits) != 2 or state.brain is None or len(state.grid.shape) != 3:
        return state
    first, second = (visit[0] for visit in state.visits)
    seen = state.brain & ~empty_margin(first) & ~empty_margin(second)
    if not seen.any():
        raise DataError(f"{state.name}: the visits have no brain in common; check that both show the same head")
    ends: dict[str, int] = {}
    for axis, letter in enumerate(orientation(state.grid.affine)):
        low, high = faded_ends(first, second, seen, axis)
        ends |= {letter.translate(_OTHER_END): low, letter: high}
    both = seen.copy()
    for axis, letter in enumerate(orientation(state.grid.affine)):
        view, side = np.moveaxis(both, axis, 0), both.shape[axis]
        view[: ends[letter.translate(_OTHER_END)]] = False
        view[side - ends[letter] :] = False
    if not both.any():
        raise DataError(f"{state.name}: the visits have no brain in common; check that both show the same head")
    facts = {
        "share_of_brain": round(float(both.sum() / state.brain.sum()), 5),
        "empty_share": round(float(1 - seen.sum() / state.brain.sum()), 5),
        "slices_left_out": {letter: count for letter, count in ends.items() if count},
    }
    return replace(state, brain=both).noted("field_of_view", facts)


def empty_margin(image: Image) -> Mask:
    """The voxels (X, Y, Z) that lie outside a visit's own image: those of its lowest value that reach the border.

    Args:
        image: Intensities (X, Y, Z), 0 or the lowest value where a visit was not imaged.
    """
    empty = image == max(0.0, float(image.min()))
    labels, count = label_components(empty, 6)
    outside = np.zeros(count + 1, dtype=np.bool_)
    for axis in range(3):
        for index in (0, -1):
            outside[np.take(labels, index, axis)] = True
    outside[0] = False
    return np.asarray(outside[labels])


def faded_ends(first: Image, second: Image, brain: Mask, axis: int) -> tuple[int, int]:
    """How many slices at either end of an axis have lost the signal of one visit.

    Slices are compared by their mean over the brain, relative to the median slice of the visit. Slices with few voxels
    don't decide.

    Args:
        first: Intensities (X, Y, Z) of one visit.
        second: Those of the other.
        brain: Brain mask (X, Y, Z).
        axis: The axis across the slices.

    Returns:
        Slices at the start and at the end of the axis, counted from the border of the image; 0 where none is faded.
    """
    across = tuple(other for other in range(3) if other != axis)
    voxels = brain.sum(axis=across)
    used = np.flatnonzero(voxels >= max(1.0, SLIVER * voxels.max()))
    sums = [np.where(brain, image, 0).sum(axis=across, dtype=np.float64) for image in (first, second)]
    means = [total[used] / voxels[used] for total in sums]
    middle = [float(np.median(mean)) for mean in means]
    if min(middle) <= 0:
        return 0, 0
    one, other = (mean / level for mean, level in zip(means, middle, strict=True))
    faded = np.minimum(one, other) < FADED * np.maximum(one, other)
    low, high = (sum(_leading(part)) for part in (faded, faded[::-1]))
    if low == len(used):
        return 0, 0
    side = brain.shape[axis]
    return (int(used[low - 1]) + 1 if low else 0), (side - int(used[len(used) - high]) if high else 0)


def _leading(faded: Mask) -> Iterator[bool]:
    """True for each faded slice before the first that is not."""
    for slice_ in faded:
        if not slice_:
            return
        yield True
