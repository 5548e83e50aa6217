"""Connected components from runs of foreground voxels: their cost grows with the lesions, not with the image.

A run is a stretch of foreground along the last axis. Two runs belong together if they lie in neighbouring rows and
touch; there are few runs, so that joining them is quick however large the image is.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def _run_starts(voxels: Integers, length: int) -> Integers:
    """Where runs begin in the ascending flat indices `voxels`; a new row begins a new run. Shape (runs,)."""
    begins = np.ones(voxels.shape, dtype=np.bool_)
    begins[1:] = (np.diff(voxels) != 1) | (voxels[1:] % length == 0)
    return np.flatnonzero(begins)


def _row_steps(rows: tuple[int, ...], reach: int) -> list[tuple[tuple[int, ...], int]]:
    """Half of the steps to neighbouring rows, and whether runs there touch across a corner too (1) or not (0)."""
    steps = [step for step in itertools.product((-1, 0, 1), repeat=len(rows)) if any(step) and step > (0,) * len(step)]
    apart = [sum(map(abs, step)) for step in steps]
    return [(step, int(far < reach)) for step, far in zip(steps, apart, strict=True) if far <= reach]


def _touching(
    first: Integers, last: Integers, row: Integers, target: Integers, slack: int
) -> tuple[Integers, Integers]:
    """Pairs of runs (one, other) where `other` lies in row `target` of `one`, and their extents overlap or touch."""
    wide = int(last.max(initial=0)) + 3  # rows laid end to end, with a gap that no slack can bridge
    starts, stops = row * wide + first, row * wide + last
    low = np.searchsorted(stops, target * wide + first - slack, side="left")
    high = np.searchsorted(starts, target * wide + last + slack, side="right")
    count = np.maximum(high - low, 0)
    one = np.repeat(np.arange(first.size), count)
    within = np.arange(one.size) - np.repeat(np.cumsum(count) - count, count)
    return one, low[one] + within


def components_of_runs(voxels: Integers, shape: tuple[int, ...], reach: int) -> Integers:
    """The component of each foreground voxel, numbered from 0, shape (V,).

    `voxels`: ascending flat indices of the foreground of an image of this `shape`, 2-D or 3-D; `reach`: the number of
    axes along which neighbours may differ by one: 1, 2, 3 for 6, 18, 26 neighbours.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    length, rows = shape[-1], shape[:-1]
    begin = _run_starts(voxels, length)
    sizes = np.diff(begin, append=voxels.size)
    row, first = np.divmod(voxels[begin], length)
    last = first + sizes - 1
    places = np.unravel_index(row, rows)
    ones, others = [], []
    for step, slack in _row_steps(rows, reach):
        moved = [place + by for place, by in zip(places, step, strict=True)]
        inside = np.logical_and.reduce([(place >= 0) & (place < size) for place, size in zip(moved, rows, strict=True)])
        target = np.where(inside, np.ravel_multi_index(tuple(moved), rows, mode="clip"), -2)
        one, other = _touching(first, last, row, target, slack)
        ones.append(one)
        others.append(other)
    pairs = (np.concatenate(ones), np.concatenate(others))
    graph = coo_array((np.ones(pairs[0].size, dtype=np.int8), pairs), shape=(begin.size, begin.size))
    _, label = connected_components(graph, directed=False)
    return np.repeat(label.astype(np.int64), sizes)
