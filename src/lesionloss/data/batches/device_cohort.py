"""Training cases in the memory of a device, and the patches of a batch read from them at once.

Voxels of all cases stand one after the other, so that a voxel of any case has one number. Once the cases are there, the
host waits for nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding

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
        self._index = torch.int32 if voxels < torch.iinfo(torch.int32).max else torch.int64
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
        windows, positions = self._windows(drawn), positions_of(drawn, size, self.device)
        low = positions.floor().to(self._index)
        fraction = (positions - low).float()
        along, within = windows.along(low + (fraction > 0.5))
        rows, inside = windows.first + along.sum(dim=1, dtype=self._index), within.all(dim=1)
        moved = any(motion is not None for patch in drawn for motion in patch.motions)
        values = self._between(windows, low, fraction) if moved else embedding(rows, self._images) * inside[..., None]
        shape = (len(drawn), *size)
        references = (self._labels(rows, self._references) * inside).reshape(shape)
        valid = None
        if self._ignored is not None or not (padding_counts or (not moved and self._all_inside(drawn, size))):
            known = torch.ones_like(inside) if self._ignored is None else ~self._labels(rows, self._ignored)
            valid = ((known & inside) | (padding_counts & ~inside)).reshape(shape)
        return values.reshape(*shape, len(self.channels)).movedim(-1, 1), references, valid

    @staticmethod
    def _labels(rows: Tensor, of: Tensor) -> Tensor:
        return of.index_select(0, rows.flatten()).reshape(rows.shape)

    def _windows(self, drawn: Sequence[DrawnPatch]) -> Windows:
        places = [self.places[patch.window.case] for patch in drawn]
        starts = [patch.window.start for patch in drawn]
        shapes = [place.shape for place in places]
        strides = [(*np.cumprod(shape[:0:-1])[::-1], 1) for shape in shapes]
        table = upload(np.array([starts, shapes, strides])[..., None], self.device).to(self._index)
        first = upload(np.array([[place.first] for place in places]), self.device).to(self._index)
        return Windows(first, *table.unbind())

    def _all_inside(self, drawn: Sequence[DrawnPatch], size: Size) -> bool:
        """Whether the windows of all patches lie in their cases."""
        return all(
            first >= 0 and first + width <= length
            for patch in drawn
            for first, width, length in zip(patch.window.start, size, self.places[patch.window.case].shape, strict=True)
        )

    def _between(self, windows: Windows, low: Tensor, fraction: Tensor) -> Tensor:
        """Images (B, voxels, C) between voxels, linearly; outside they are 0.

        Args:
            windows: The windows.
            low: The voxel before each point (B, axes, voxels), from the window's first one.
            fraction: Where the point lies between this voxel and the next.
        """
        sides = [(windows.along(low), 1 - fraction), (windows.along(low + 1), fraction)]
        parts = [(along, share * within) for (along, within), share in sides]
        corners = [(windows.first, torch.ones((), device=self.device))]
        for axis in range(low.shape[1]):
            corners = [
                (rows + along[:, axis], weight * share[:, axis]) for rows, weight in corners for along, share in parts
            ]
        values = torch.zeros((), device=self.device)
        for rows, weight in corners:
            values = torch.addcmul(values, embedding(rows, self._images), weight[..., None])
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
