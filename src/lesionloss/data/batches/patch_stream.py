"""What is made of the patches of each step, in advance by threads: the same for any number of them."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from lesionloss.core.errors import UsageError
from lesionloss.data.batches.augmentation_presets import Steps
from lesionloss.data.batches.patch_samplers import Sampler
from lesionloss.data.batches.patches import Stream
from lesionloss.data.batches.training_batch import MapsOf
from lesionloss.data.prepared import PreparedCase

AHEAD = 2  # batches made in advance for each worker: one being made, one waiting
T = TypeVar("T")


class PatchStream(ABC, Generic[T]):
    """An endless iterator over the batches of the steps from `start_step` on, or over what is drawn for them.

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
            maps: Makes the maps of a batch from its references.

        Raises:
            UsageError: A setting is out of its range, two cases have one name, or there is nothing to draw.
        """
        for name, value, least in (("batch", batch, 1), ("start_step", start_step, 1), ("workers", workers, 0)):
            if value < least:
                raise UsageError(f"{name} is a whole number of {least} or more, got {value}")
        self.cases = _by_name(cases)
        self.draws = sampler.over(self.cases)
        self.augmentation = augmentation
        self.stream = stream
        self.batch = batch
        self.maps = maps
        self.position = start_step
        self._ahead = AHEAD * workers
        self._pool = ThreadPoolExecutor(workers, "patches") if workers else None
        self._coming: deque[Future[T]] = deque()
        self._closed = False

    @abstractmethod
    def _make(self, step: int) -> T:
        """Make what a step needs."""

    def __iter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __next__(self) -> T:
        """Return what the next step needs."""
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

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()


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
