"""An image's axes permuted and flipped to another orientation: no voxel is changed, nothing is interpolated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.data.volume import Affine, Volume, Voxel, orientation

DIRECTIONS = ("RL", "AP", "SI")


@dataclass(frozen=True)
class Turn:
    """How axes are turned: `order` holds the former axis of each new one, `flips` whether a new axis runs backwards."""

    order: tuple[int, ...]
    flips: tuple[bool, ...]

    def __bool__(self) -> bool:
        """Whether anything is turned."""
        return any(self.flips) or self.order != tuple(range(len(self.order)))

    def array(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn the last axes of an array."""
        lead = array.ndim - len(self.order)
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        flipped = tuple(lead + axis for axis, flip in enumerate(self.flips) if flip)
        return np.ascontiguousarray(np.flip(turned, flipped))

    def affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """Make the affine of the turned image from that of an image of `shape`."""
        turned = affine.copy()
        for axis, (former, flip) in enumerate(zip(self.order, self.flips, strict=True)):
            column = affine[:3, former]
            turned[:3, axis] = -column if flip else column
            turned[:3, 3] += column * (shape[former] - 1) if flip else 0
        return turned


def turn_to(affine: Affine, axes: str) -> Turn:
    """Find the turn that brings an image to an orientation.

    Args:
        affine: Voxel indices to millimetres (4, 4).
        axes: Directions of the three axes, such as RAS.

    Returns:
        The turn.
    """
    here = orientation(affine)
    lines = [next(line for line in DIRECTIONS if letter in line) for letter in here]
    order = tuple(lines.index(next(line for line in DIRECTIONS if letter in line)) for letter in axes)
    return Turn(order, tuple(letter != here[former] for letter, former in zip(axes, order, strict=True)))


def turned(volume: Volume[Voxel], axes: str) -> Volume[Voxel]:
    """Bring a volume to an orientation; `axes` are the directions of the three axes, such as RAS."""
    turn = turn_to(volume.affine, axes)
    if not turn:
        return volume
    qform = None if volume.qform is None else turn.affine(volume.qform, volume.array.shape)
    affine = turn.affine(volume.affine, volume.array.shape)
    return Volume(turn.array(volume.array), affine, volume.path, qform, volume.placed)


def put_back(array: npt.NDArray[Any], through: Affine, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """Copy the voxels of a turned and cropped image to their places in the whole image.

    Args:
        array: Values (*space).
        through: Voxel indices of the array to those of the whole image (4, 4).
        shape: Of the whole image.

    Returns:
        Values (*shape), 0 elsewhere; None where voxels don't fall on voxels.
    """
    axes = array.ndim
    steps, start = np.rint(through[:axes, :axes]), np.rint(through[:axes, 3])
    whole = np.abs(steps).sum(0).tolist() == np.abs(steps).sum(1).tolist() == [1.0] * axes
    if not whole or np.abs(np.column_stack((steps, start)) - through[:axes, [*range(axes), 3]]).max() > 1e-3:
        return None
    order = tuple(int(np.abs(row).argmax()) for row in steps)
    turn = Turn(order, tuple(bool(row.sum() < 0) for row in steps))
    values = turn.array(array)
    first = [int(s) - (n - 1) * flip for s, n, flip in zip(start, values.shape, turn.flips, strict=True)]
    if any(f < 0 or f + n > size for f, n, size in zip(first, values.shape, shape, strict=True)):
        return None
    result = np.zeros(shape, dtype=array.dtype)
    result[tuple(slice(f, f + n) for f, n in zip(first, values.shape, strict=True))] = values
    return result
