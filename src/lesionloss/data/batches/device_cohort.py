"""Training cases in the memory of a device, and the patches of a batch read from them at once.

Voxels of all cases stand one after the other, so that a voxel of any case has one number. Once the cases are there, the
host waits for nothing.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.core.processors import usable_cores
from lesionloss.data.batches.augmentation import DrawnPatch
from lesionloss.data.batches.device_positions import positions_of, upload
from lesionloss.data.batches.patches import Size
from lesionloss.data.prepared import PreparedCase

MOST_HASHING = 4  # threads


@dataclass(frozen=True)
class Place:
    """Where a case stands: its first voxel and its shape; and its largest class number that counts."""

    first: int
    shape: Size
    highest: int


@dataclass(frozen=True)
class Windows:
    """Where the windows of B patches lie, on the device.

    Attributes:
        first: First voxel of each case (B, 1).
        start: First voxel of each window (B, axes, 1), in its case.
        shape: Of each case (B, axes, 1).
        strides: Of each case (B, axes, 1).
    """

    first: Tensor
    start: Tensor
    shape: Tensor
    strides: Tensor

    def along(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each axis adds to the number of a voxel, and whether it lies in the case: (B, axes, voxels).

        Args:
            steps: Whole numbers of voxels from the window's first one (B, axes, voxels).
        """
        index = steps + self.start
        inside = (index >= 0) & (index < self.shape)
        return torch.minimum(index.clamp(min=0), self.shape - 1) * self.strides, inside


class DeviceCohort:
    """Images, references and ignored voxels of cases with the same channels and axes, in the memory of a device."""

    def __init__(self, cases: Mapping[str, PreparedCase], device: str) -> None:
        """Copy the cases; this waits for the device.

        Args:
            cases: Cases by name.
            device: cpu or cuda:N.
        """
        every = list(cases.values())
        self.content = content_of(every)
        voxels = sum(case.reference.size for case in every)
        self.device = torch.device(device)
        self.channels = every[0].channels
        self.places: dict[str, Place] = {}
        self._images = torch.empty((voxels, len(self.channels)), device=self.device)
        self._references = torch.empty(voxels, dtype=torch.uint8, device=self.device)
        ignore = any(case.ignore is not None for case in every)
        self._ignored = torch.zeros(voxels, dtype=torch.bool, device=self.device) if ignore else None
        first = 0
        for name, case in cases.items():
            here = slice(first, first + case.reference.size)
            self._images[here] = self._copied(case.image.reshape(len(self.channels), -1)).T
            self._references[here] = self._copied(case.reference.reshape(-1))
            if self._ignored is not None and case.ignore is not None:
                self._ignored[here] = self._copied(case.ignore.reshape(-1))
            known = case.reference if case.ignore is None else case.reference[~case.ignore]
            self.places[name] = Place(first, case.shape, int(known.max(initial=0)))
            first = here.stop

    def _copied(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def read(
        self, drawn: Sequence[DrawnPatch], size: Size, *, padding_counts: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read patches at the voxels, or between them where points are moved; intensities stay.

        Args:
            drawn: What was drawn for each of B patches.
            size: Voxels along each axis.
            padding_counts: Whether voxels outside the image are valid background.

        Returns:
            Images (B, C, *size), channels last in memory; references (B, *size); the mask (B, *size) of valid voxels,
            None where all are certain to be.
        """
        windows = self._windows(drawn)
        positions = positions_of(drawn, size, self.device)
        moved = any(motion is not None for patch in drawn for motion in patch.motions)
        axes, within = windows.along(positions.round().long())
        rows, inside = windows.first + axes.sum(dim=1), within.all(dim=1)
        shape = (len(drawn), *size)
        values = self._between(windows, positions) if moved else self._images[rows] * inside[..., None]
        references = (self._references[rows] * inside).reshape(shape)
        valid = None
        if self._ignored is not None or not (padding_counts or (not moved and self._all_inside(drawn, size))):
            known = torch.ones_like(inside) if self._ignored is None else ~self._ignored[rows]
            valid = ((known & inside) | (padding_counts & ~inside)).reshape(shape)
        return values.reshape(*shape, len(self.channels)).movedim(-1, 1), references, valid

    def _windows(self, drawn: Sequence[DrawnPatch]) -> Windows:
        places = [self.places[patch.window.case] for patch in drawn]
        starts = [patch.window.start for patch in drawn]
        shapes = [place.shape for place in places]
        strides = [(*np.cumprod(shape[:0:-1])[::-1], 1) for shape in shapes]
        table = upload(np.array([starts, shapes, strides], dtype=np.int64)[..., None], self.device)
        first = upload(np.array([[place.first] for place in places], dtype=np.int64), self.device)
        return Windows(first, *table.unbind())

    def _all_inside(self, drawn: Sequence[DrawnPatch], size: Size) -> bool:
        """Whether the windows of all patches lie in their cases."""
        return all(
            first >= 0 and first + width <= length
            for patch in drawn
            for first, width, length in zip(patch.window.start, size, self.places[patch.window.case].shape, strict=True)
        )

    def _between(self, windows: Windows, positions: Tensor) -> Tensor:
        """Images (B, voxels, C) at positions between voxels, linearly; outside they are 0."""
        low = positions.floor()
        fraction = (positions - low).float()
        sides = [windows.along(low.long() + side) for side in (0, 1)]
        weights = [(1 - fraction) * sides[0][1], fraction * sides[1][1]]
        values = torch.zeros((), device=self.device)
        for corner in itertools.product((0, 1), repeat=positions.shape[1]):
            rows = windows.first
            weight = torch.ones((), device=self.device)
            for axis, side in enumerate(corner):
                rows, weight = rows + sides[side][0][:, axis], weight * weights[side][:, axis]
            values = values + self._images[rows] * weight[..., None]
        return values


def content_of(cases: Sequence[PreparedCase]) -> str:
    """Return a digest of the content of all cases, hashed side by side."""
    with ThreadPoolExecutor(min(MOST_HASHING, usable_cores())) as pool:
        digests = list(pool.map(lambda case: f"{case.name} {case.content_sha256}", cases))
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def cohort_bytes(cases: Sequence[PreparedCase]) -> int:
    """Return how much memory cases need on a device, in bytes."""
    ignore = any(case.ignore is not None for case in cases)
    return sum(case.image.nbytes + (2 if ignore else 1) * case.reference.size for case in cases)
