"""Connected components of masks, the only place that knows which voxels are neighbours.

Works on runs: stretches of foreground along the last axis. There are few of them in masks of lesions, so that time and
memory grow with the surface of the lesions and not with the image.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import UsageError

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

# Along how many axes a neighbour may differ. In 2-D, 6 means the four neighbours across an edge, 18 and 26 all eight.
NEIGHBOUR_AXES = {6: 1, 18: 2, 26: 3}

# Up to one foreground voxel in so many, the indices of all of them take less memory than the mask.
VOXELS_PER_INDEX = 32


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """The smallest box that holds a mask, with a margin of voxels inside the image; of an empty mask, the image."""
    box = []
    for axis, side in enumerate(mask.shape):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        first, last = (int(used[0]), int(used[-1])) if used.size else (0, side - 1)
        box.append(slice(max(first - margin, 0), min(last + 1 + margin, side)))
    return tuple(box)


@dataclass(frozen=True)
class VoxelRuns:
    """The runs of a mask of this `shape`: flat indices of their first and last voxels, ascending, shape (runs,)."""

    first: Integers
    last: Integers
    shape: tuple[int, ...]

    @property
    def sizes(self) -> Integers:
        """Voxels of each run, shape (runs,)."""
        return self.last - self.first + 1

    def filled(self, values: Integers) -> NDArray[np.int32]:
        """Fill the voxels of each run with its value.

        Args:
            values: One for each run, shape (runs,).

        Returns:
            An array of `shape`; 0 outside the runs.
        """
        image = np.zeros(self.shape, dtype=np.int32)
        ends = np.cumsum(self.sizes)
        voxels = np.arange(ends[-1] if ends.size else 0) + np.repeat(self.first - (ends - self.sizes), self.sizes)
        image.reshape(-1)[voxels] = np.repeat(values, self.sizes)
        return image


def label_components(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of a mask.

    Args:
        mask: `*space`, 2-D or 3-D.
        connectivity: 6, 18 or 26 neighbours; see `NEIGHBOUR_AXES` for what they mean in 2-D.

    Returns:
        The number of each voxel's component, shape `*space`, 0 for background, from 1 on in the order of their first
        voxels; and how many components there are.

    Raises:
        UsageError: for another connectivity.
    """
    runs = find_runs(np.asarray(mask, dtype=np.bool_))
    component = components_of_runs(runs, connectivity)
    return runs.filled(component + 1), int(component.max(initial=-1)) + 1


def largest_component(mask: Mask, connectivity: int) -> Mask:
    """The largest connected component of a mask (*space), the first of several; all False for an empty mask."""
    labels, count = label_components(mask, connectivity)
    if count == 0:
        return np.zeros(labels.shape, dtype=np.bool_)
    sizes = np.bincount(labels.reshape(-1))
    return np.asarray(labels == 1 + int(sizes[1:].argmax()))


def find_runs(mask: Mask) -> VoxelRuns:
    """Find all runs of a mask (*space), 2-D or 3-D."""
    sparse = np.count_nonzero(mask) * VOXELS_PER_INDEX < mask.size
    return _runs_by_voxels(mask) if sparse else _runs_by_edges(mask)


def _runs_by_voxels(mask: Mask) -> VoxelRuns:
    """For sparse masks: looks at the foreground only."""
    voxels = np.flatnonzero(mask)
    begins = np.ones(voxels.size + 1, dtype=np.bool_)
    begins[1:-1] = (np.diff(voxels) != 1) | (voxels[1:] % mask.shape[-1] == 0)
    return VoxelRuns(voxels[begins[:-1]], voxels[begins[1:]], mask.shape)


def _runs_by_edges(mask: Mask) -> VoxelRuns:
    """For dense masks: looks for the changes between neighbours, without an index for each voxel."""
    edges = np.array(mask, order="C")
    np.greater(mask[..., 1:], mask[..., :-1], out=edges[..., 1:])
    first = np.flatnonzero(edges)
    edges[..., -1] = mask[..., -1]
    np.greater(mask[..., :-1], mask[..., 1:], out=edges[..., :-1])
    return VoxelRuns(first, np.flatnonzero(edges), mask.shape)


def overlapping_pairs(
    first: Integers, last: Integers, others_first: Integers, others_last: Integers
) -> tuple[Integers, Integers]:
    """All pairs (one, other) of stretches [first, last] that share an index; the others ascend and are disjoint."""
    low = np.searchsorted(others_last, first, side="left")
    count = np.maximum(np.searchsorted(others_first, last, side="right") - low, 0)
    one = np.repeat(np.arange(first.size), count)
    within = np.arange(one.size) - np.repeat(np.cumsum(count) - count, count)
    return one, low[one] + within


def _row_steps(axes: int, reach: int) -> list[tuple[tuple[int, ...], int]]:
    """Half of the steps to neighbouring rows, and whether runs there touch across a corner too (1) or not (0)."""
    forward = [step for step in itertools.product((-1, 0, 1), repeat=axes) if step > (0,) * axes]
    apart = [sum(map(abs, step)) for step in forward]
    return [(step, int(far < reach)) for step, far in zip(forward, apart, strict=True) if far <= reach]


def components_of_runs(runs: VoxelRuns, connectivity: int) -> Integers:
    """The component of each run, numbered from 0 in the order of their first runs, shape (runs,).

    Raises:
        UsageError: for another connectivity than 6, 18 and 26.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if connectivity not in NEIGHBOUR_AXES:
        raise UsageError(f"connectivity: expected 6, 18 or 26, got {connectivity}")
    length, rows = runs.shape[-1], runs.shape[:-1]
    row, first = np.divmod(runs.first, length)
    last = first + runs.sizes - 1
    places = np.unravel_index(row, rows)
    wide = length + 2  # rows laid end to end, with a gap that touching corners can't bridge
    ones, others = [], []
    for step, slack in _row_steps(len(rows), NEIGHBOUR_AXES[connectivity]):
        moved = [place + by for place, by in zip(places, step, strict=True)]
        inside = np.logical_and.reduce([(place >= 0) & (place < size) for place, size in zip(moved, rows, strict=True)])
        target = np.where(inside, np.ravel_multi_index(tuple(moved), rows, mode="clip"), -2) * wide
        one, other = overlapping_pairs(
            target + first - slack, target + last + slack, row * wide + first, row * wide + last
        )
        ones.append(one)
        others.append(other)
    pairs = (np.concatenate(ones), np.concatenate(others))
    graph = coo_array((np.ones(pairs[0].size, dtype=np.int8), pairs), shape=(row.size, row.size))
    _, label = connected_components(graph, directed=False)
    return np.asarray(label, dtype=np.int64)
