"""A sliding grid of windows over the brain, of which those with lesion are kept (Cabezas & Diez 2024)."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import UsageError
from lesionloss.data.batches.patch_samplers import Cases, Draws, Window, names_of, shuffled_index
from lesionloss.data.batches.patches import Size, Stream, check_fits, check_size, start_around
from lesionloss.data.prepared import PreparedCase

Corner = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SlidingGrid:
    """All windows of a grid that hold lesion, each once in an epoch, in an order drawn from stream and epoch.

    The grid begins at the first voxel of the brain's bounding box and advances by `size` - `overlap` voxels; a last row
    of windows ends with the box (Cabezas & Diez 2024: 32 and 16). Where the box is smaller than the patch, the window
    is centred on it.

    Attributes:
        size: Voxels of a patch along each axis.
        overlap: Voxels that neighbouring windows share.
        flipped: Axis along which each window is flipped for a second visit (the authors: the first); None for no second
            visit.
        only_lesion: Whether windows without lesion are left out.
        padding_counts: As in `WeightedCrop`.
    """

    size: Size = (32, 32, 32)
    overlap: int = 16
    flipped: int | None = 0
    only_lesion: bool = True
    padding_counts: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_size(self.size)
        if not 0 <= self.overlap < min(self.size):
            raise UsageError(f"overlap is 0 or more and smaller than the patch {self.size}, got {self.overlap}")
        if self.flipped is not None and not 0 <= self.flipped < len(self.size):
            raise UsageError(f"flipped is an axis from 0 to {len(self.size) - 1} or none, got {self.flipped}")

    def over(self, cases: Cases) -> Draws:
        """Prepare draws by epochs; reads every case once.

        Raises:
            UsageError: No window holds a lesion.
        """
        plain = [Window(name, start) for name in names_of(cases) for start in grid_starts(cases[name], self)]
        if not plain:
            raise UsageError(f"none of the {len(cases)} cases has a window with lesion: choose another sampler")
        flips = [Window(window.case, window.start, (self.flipped,)) for window in plain if self.flipped is not None]
        windows = (*plain, *flips)

        def window(stream: Stream, step: int, place: int, batch: int) -> Window:
            return windows[shuffled_index(stream, len(windows), (step - 1) * batch + place)]

        return Draws(self.size, window, len(windows), self.padding_counts)


def grid_starts(case: PreparedCase, grid: SlidingGrid) -> list[tuple[int, ...]]:
    """List the first voxels of the grid's windows of one case, in the order of the axes."""
    check_fits(case, grid.size)
    low, high = _bounding_box(case)
    middle = start_around(case.shape, grid.size, (low + high) // 2)
    along = [
        _starts(int(first), int(end), width, grid.overlap, alone)
        for first, end, width, alone in zip(low, high, grid.size, middle, strict=True)
    ]
    starts = list(itertools.product(*along))
    return [start for start in starts if _holds_lesion(case, start, grid.size)] if grid.only_lesion else starts


def _bounding_box(case: PreparedCase) -> tuple[Corner, Corner]:
    """Find the first voxel of the brain along each axis, and the one after its last."""
    where = np.nonzero(case.brain)
    return np.array([axis.min() for axis in where]), np.array([axis.max() + 1 for axis in where])


def _starts(first: int, end: int, width: int, overlap: int, alone: int) -> list[int]:
    """List where the windows begin along one axis; `alone` where a single one covers all."""
    last = end - width
    return [*range(first, last, width - overlap), last] if last > first else [alone]


def _holds_lesion(case: PreparedCase, start: tuple[int, ...], size: Size) -> bool:
    window = tuple(slice(max(at, 0), at + width) for at, width in zip(start, size, strict=True))
    return bool(case.reference[window].any())
