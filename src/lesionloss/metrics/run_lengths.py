"""A mask as runs of foreground voxels, and its connected components from them.

A run is a stretch of foreground along the last axis. There are few of them: the cost of joining them to components,
in time and memory, grows with the surface of the lesions and not with the image.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.metrics.array_checks import Mask

Integers = NDArray[np.int64]

# Up to one foreground voxel in so many, the indices of all of them take less memory than the mask.
VOXELS_PER_INDEX = 32


@dataclass(frozen=True)
class Runs:
    """Flat indices of the first and last voxel of each run of an image of this `shape`; ascending, shape (runs,)."""

    first: Integers
    last: Integers
    shape: tuple[int, ...]

    @property
    def sizes(self) -> Integers:
        """Voxels of each run."""
        return self.last - self.first + 1


def _runs_by_voxels(mask: Mask) -> Runs:
    """For sparse masks: looks at the foreground only."""
    voxels = np.flatnonzero(mask)
    begins = np.ones(voxels.size + 1, dtype=np.bool_)
    begins[1:-1] = (np.diff(voxels) != 1) | (voxels[1:] % mask.shape[-1] == 0)
    return Runs(voxels[begins[:-1]], voxels[begins[1:]], mask.shape)


def _runs_by_edges(mask: Mask) -> Runs:
    """For dense masks: looks for the changes between neighbours, without an index for each voxel."""
    edges = np.array(mask, order="C")
    np.greater(mask[..., 1:], mask[..., :-1], out=edges[..., 1:])
    first = np.flatnonzero(edges)
    edges[..., -1] = mask[..., -1]
    np.greater(mask[..., :-1], mask[..., 1:], out=edges[..., :-1])
    return Runs(first, np.flatnonzero(edges), mask.shape)


def find_runs(mask: Mask) -> Runs:
    """All runs of a mask, 2-D or 3-D."""
    sparse = np.count_nonzero(mask) * VOXELS_PER_INDEX < mask.size
    return _runs_by_voxels(mask) if sparse else _runs_by_edges(mask)


def meeting(
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


def components(runs: Runs, reach: int) -> Integers:
    """The component of each run, numbered from 0, shape (runs,).

    `reach`: the number of axes along which neighbours may differ by one: 1, 2, 3 for 6, 18, 26 neighbours.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    length, rows = runs.shape[-1], runs.shape[:-1]
    row, first = np.divmod(runs.first, length)
    last = first + runs.sizes - 1
    places = np.unravel_index(row, rows)
    wide = length + 2  # rows laid end to end, with a gap that touching corners can't bridge
    ones, others = [], []
    for step, slack in _row_steps(len(rows), reach):
        moved = [place + by for place, by in zip(places, step, strict=True)]
        inside = np.logical_and.reduce([(place >= 0) & (place < size) for place, size in zip(moved, rows, strict=True)])
        target = np.where(inside, np.ravel_multi_index(tuple(moved), rows, mode="clip"), -2) * wide
        one, other = meeting(target + first - slack, target + last + slack, row * wide + first, row * wide + last)
        ones.append(one)
        others.append(other)
    pairs = (np.concatenate(ones), np.concatenate(others))
    graph = coo_array((np.ones(pairs[0].size, dtype=np.int8), pairs), shape=(row.size, row.size))
    _, label = connected_components(graph, directed=False)
    return np.asarray(label, dtype=np.int64)
