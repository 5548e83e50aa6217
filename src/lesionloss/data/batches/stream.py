"""Batches for training: a pure function of the step, and an iterator that makes the next ones in advance."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError, LesionLossError, UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.batches.augmentation import augmented_patch
from lesionloss.data.batches.augmentation_presets import Steps
from lesionloss.data.batches.patch_samplers import Cases, Draws, Sampler
from lesionloss.data.batches.patches import Patch, Stream
from lesionloss.data.prepared import PreparedCase

AHEAD = 2  # batches made in advance for each worker: one being made, one waiting


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What one step trains on.

    Attributes:
        step: Number of the step, from 1.
        images: Float32 (B, C, *size).
        references: Class numbers uint8 (B, *size).
        valid: Bool (B, *size); None where no voxel is masked.
        names: Names of the cases.
        spacing_mm: Edge lengths of a voxel for each patch (axes).
        maps: What follows from references, masks and spacing alone, by name; each (B, classes, *size).
    """

    step: int
    images: npt.NDArray[np.float32]
    references: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_] | None
    names: tuple[str, ...]
    spacing_mm: tuple[tuple[float, ...], ...]
    maps: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def digest(self) -> str:
        """Hash all content of the batch."""
        digest = hashlib.sha256(repr((self.step, self.names)).encode())
        for array in (self.images, self.references, self.valid):
            digest.update(b"-" if array is None else array.tobytes())
        return digest.hexdigest()[:16]


MapsOf = Callable[[TrainingBatch], Mapping[str, npt.NDArray[Any]]]


def make_batch(cases: Cases, draws: Draws, steps: Steps, stream: Stream, step: int, batch: int) -> TrainingBatch:
    """Make the batch of one step; it depends on nothing but the arguments.

    Args:
        cases: Cases by name.
        draws: What a sampler draws from them.
        steps: The augmentation.
        stream: Name of the stream of random numbers.
        step: Number of the step, from 1.
        batch: Patches in the batch.

    Returns:
        The batch.

    Raises:
        DataError: A patch can't be cut or augmented (names case and step), or the cases have different channels.
    """
    patches: list[Patch] = []
    names: list[str] = []
    for place in range(batch):
        window = draws.window(stream, step, place, batch)
        rng = numpy_generator(*stream, "augment", step, place)
        try:
            case = cases[window.case]
            patch = augmented_patch(case, window, draws.size, steps, rng, padding_counts=draws.padding_counts)
        except LesionLossError:
            raise
        except Exception as error:
            raise DataError(f"{window.case}: no patch for step {step}: {type(error).__name__}: {error}") from error
        patches.append(patch)
        names.append(window.case)
    channels = {len(patch.image): name for patch, name in zip(patches, names, strict=True)}
    if len(channels) > 1:
        raise DataError(
            f"cases {', '.join(channels.values())} have {', '.join(map(str, channels))} channels: not one cohort"
        )
    return _joined(patches, tuple(names), step, tuple(cases[name].spacing_mm for name in names))


class BatchStream:
    """An endless iterator over the batches of the steps from `start_step` on.

    Batches and their order are the same for any number of workers and any start: a checkpoint needs only `position`,
    the number of the next step. Workers are threads: copying, interpolating and reading release Python's lock, and
    nothing has to be sent between processes. Without workers a batch is made when it is requested. An error of a worker
    is raised where its batch was due. Close the stream, or use it in a `with` block; the workers then stop after their
    present batch.
    """

    def __init__(
        self,
        cases: Mapping[str, PreparedCase] | Sequence[PreparedCase],
        sampler: Sampler,
        augmentation: Steps,
        stream: Stream,
        *,
        batch: int,
        start_step: int = 1,
        workers: int = 0,
        maps: MapsOf | None = None,
    ) -> None:
        """Open a stream.

        Args:
            cases: Prepared cases, or cases by name.
            sampler: Decides where patches lie.
            augmentation: The steps of augmentation.
            stream: Name of the stream of random numbers.
            batch: Patches in a batch.
            start_step: Number of the first step.
            workers: Threads that make batches in advance.
            maps: Makes the maps of a batch.

        Raises:
            UsageError: A setting is out of its range, two cases have one name, or there is nothing to draw.
        """
        for name, value, least in (("batch", batch, 1), ("start_step", start_step, 1), ("workers", workers, 0)):
            if value < least:
                raise UsageError(f"{name} is a whole number of {least} or more, got {value}")
        self._cases = _by_name(cases)
        self.draws = sampler.over(self._cases)
        self._augmentation = augmentation
        self._stream = stream
        self._batch = batch
        self._maps = maps
        self.position = start_step
        self._ahead = AHEAD * workers
        self._pool = ThreadPoolExecutor(workers, "patches") if workers else None
        self._coming: deque[Future[TrainingBatch]] = deque()
        self._closed = False

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Return the stream itself."""
        return self

    def __next__(self) -> TrainingBatch:
        """Return the next batch."""
        if self._closed:
            raise UsageError(f"this stream of batches is closed; open another with start_step={self.position}")
        if self._pool is None:
            made = self._make(self.position)
        else:
            while len(self._coming) < self._ahead:
                self._coming.append(self._pool.submit(self._make, self.position + len(self._coming)))
            try:
                made = self._coming.popleft().result()
            except BaseException:
                self.close()
                raise
        self.position += 1
        return made

    def close(self) -> None:
        """Stop the workers and drop the batches made in advance."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._coming.clear()

    def __enter__(self) -> "BatchStream":
        """Return the stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def _make(self, step: int) -> TrainingBatch:
        made = make_batch(self._cases, self.draws, self._augmentation, self._stream, step, self._batch)
        return made if self._maps is None else replace(made, maps=self._maps(made))


def _joined(
    patches: Sequence[Patch], names: tuple[str, ...], step: int, spacing_mm: tuple[tuple[float, ...], ...]
) -> TrainingBatch:
    valid = None if all(patch.valid.all() for patch in patches) else np.stack([patch.valid for patch in patches])
    images = np.stack([patch.image for patch in patches])
    return TrainingBatch(step, images, np.stack([patch.reference for patch in patches]), valid, names, spacing_mm)


def _by_name(
    cases: Mapping[str, PreparedCase] | Sequence[PreparedCase],
) -> Mapping[str, PreparedCase]:
    """Index cases by their names; raise UsageError where two have the same name."""
    if isinstance(cases, Mapping):
        return cases
    named = {case.name: case for case in cases}
    if len(named) < len(cases):
        names = [case.name for case in cases]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two cases are named {twice!r}; names tell cases apart, so give each its own")
    return named
