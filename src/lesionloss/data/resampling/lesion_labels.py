"""Lesions that would vanish between two grids keep one voxel each."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionloss.core.components import label_components
from lesionloss.data.volume import Affine


@dataclass(frozen=True)
class LesionCount:
    """Lesions (26-connected components of one class, 8-connected in two dimensions) before and after resampling.

    `kept_by_centre` lesions had no voxel left and were given the one at their centre. Otherwise `after` differs from
    `before` only where neighbours touch now or a thin bridge has parted.
    """

    before: int
    after: int
    kept_by_centre: int


def keep_lesions(
    before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8], to_after: Affine
) -> tuple[npt.NDArray[np.uint8], LesionCount]:
    """Give each lesion without a voxel after resampling the voxel nearest to its centre.

    Args:
        before: Class numbers (*space) on the source's grid.
        after: Class numbers (*space) on the target's grid.
        to_after: Affine (4, 4) from voxel indices of `before` to those of `after`.

    Returns:
        Class numbers like `after`, where every lesion of `before` has a voxel (a lesion beyond the border keeps one at
        the border), and the count of lesions.
    """
    axes = before.ndim
    last = np.array(after.shape) - 1
    result = after.copy()
    lesions, kept = 0, 0
    for number in classes_in(before):
        components, total = label_components(before == number, 26)
        lesions += total
        where = np.argwhere(components)
        owner = components[tuple(where.T)]
        there = np.rint(where @ to_after[:axes, :axes].T + to_after[:axes, 3]).astype(np.int64).clip(0, last)
        alive = np.unique(owner[after[tuple(there.T)] == number])
        for lost in np.setdiff1d(np.arange(1, total + 1), alive):
            voxels, landed = where[owner == lost], there[owner == lost]
            order = np.linalg.norm(voxels - voxels.mean(0), axis=1).argsort(kind="stable")
            result[_free(result, landed[order], number, last)] = number
            kept += 1
    now = sum(label_components(result == number, 26)[1] for number in classes_in(result))
    return result, LesionCount(lesions, now, kept)


def _free(
    result: npt.NDArray[np.uint8], places: npt.NDArray[np.int64], number: int, last: npt.NDArray[np.int64]
) -> tuple[int, ...]:
    """The first of the places (or else of the first one's neighbours) where no other class would lose its voxel."""
    steps = np.array(list(np.ndindex(*(3 for _ in last)))) - 1
    around = (places[0] + steps[np.abs(steps).sum(1).argsort(kind="stable")]).clip(0, last)
    for place in (*places, *around):
        if result[tuple(place)] in (0, number):
            return tuple(int(x) for x in place)
    return tuple(int(x) for x in places[0])


def classes_in(labels: npt.NDArray[np.uint8]) -> list[int]:
    """List the class numbers in an array, without 0.

    Args:
        labels: Class numbers, any shape.

    Returns:
        The numbers in ascending order.
    """
    return [int(number) for number in np.flatnonzero(np.bincount(labels.ravel(), minlength=1)) if number]
