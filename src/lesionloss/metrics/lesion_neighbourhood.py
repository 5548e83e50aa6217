"""The neighbourhood of lesions: all voxels within some millimetres of one, centre to centre."""

import math
from collections.abc import Iterator

import numpy as np

from lesionloss.core.components import components_of_runs, find_runs
from lesionloss.metrics.array_checks import Mask
from lesionloss.metrics.borders import ROUNDING, Box

# The exact distance transform needs about 30 bytes for each voxel of what it is given at once.
BLOCK_VOXELS = 1 << 19


def _grown(box: Box, reach: list[int], shape: tuple[int, ...]) -> Box:
    return tuple(
        slice(max(extent.start - more, 0), min(extent.stop + more, size))
        for extent, more, size in zip(box, reach, shape, strict=True)
    )


def _size(box: Box) -> int:
    return math.prod(extent.stop - extent.start for extent in box)


def _lesion_boxes(crop: Mask, box: Box) -> list[Box]:
    """The bounding boxes of the components of the mask in `box`, in indices of the image."""
    runs = find_runs(crop)
    label = components_of_runs(runs, 26)
    count = int(label.max(initial=-1)) + 1
    order = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[order], np.arange(count))
    lows = [np.minimum.reduceat(place[order], starts) for place in np.unravel_index(runs.first, runs.shape)]
    highs = [np.maximum.reduceat(place[order], starts) for place in np.unravel_index(runs.last, runs.shape)]
    return [
        tuple(
            slice(int(low[i]) + extent.start, int(high[i]) + extent.start + 1)
            for low, high, extent in zip(lows, highs, box, strict=True)
        )
        for i in range(count)
    ]


def _blocks(box: Box, reach: list[int], shape: tuple[int, ...]) -> Iterator[Box]:
    """The box in halves of halves, until a block is small with its margins, or hardly larger than they are."""
    lengths = [extent.stop - extent.start for extent in box]
    axis = int(np.argmax(lengths))
    if _size(_grown(box, reach, shape)) <= BLOCK_VOXELS or lengths[axis] <= max(2 * reach[axis], 1):
        yield box
        return
    middle = box[axis].start + lengths[axis] // 2
    for half in (slice(box[axis].start, middle), slice(middle, box[axis].stop)):
        yield from _blocks((*box[:axis], half, *box[axis + 1 :]), reach, shape)


def neighbourhood(mask: Mask, box: Box | None, spacing_mm: tuple[float, ...], radius_mm: float) -> Mask:
    """Voxels within `radius_mm` of the foreground, all of which lies in `box`; by the exact transform, in blocks."""
    from scipy.ndimage import distance_transform_edt

    near = np.zeros(mask.shape, dtype=np.bool_)
    if box is None:
        return near
    reach = [math.ceil(radius_mm / step) for step in spacing_mm]
    boxes = _lesion_boxes(mask[box], box)
    if sum(_size(_grown(each, reach, mask.shape)) for each in boxes) > _size(_grown(box, reach, mask.shape)):
        boxes = [box]
    for block in (block for each in boxes for block in _blocks(_grown(each, reach, mask.shape), reach, mask.shape)):
        wide = _grown(block, reach, mask.shape)
        if not mask[wide].any():
            continue
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(block, wide, strict=True))
        distance = distance_transform_edt(~mask[wide], sampling=spacing_mm)
        near[block] |= distance[inner] <= radius_mm * ROUNDING
    return near
