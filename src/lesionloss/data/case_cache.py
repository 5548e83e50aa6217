"""Prepared cases in a bounded part of memory: what was used last stays, the rest is read when it is drawn."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from lesionloss.core.errors import DataError, LesionLossError, UsageError
from lesionloss.data.prepared import PreparedCase, load_prepared

INDEX_BYTES = 8  # of one entry of lesion_voxels and brain_voxels


class CaseStore(Mapping[str, PreparedCase]):
    """A mapping from names to cases on disk that keeps at most `limit_bytes` of them.

    Room is made before a case is read, as much as the case took last time, or else as the largest so far. A case that a
    worker has in hand when it is dropped lives until the worker is done; so does one being read. Safe for threads: a
    case that two ask for at once is read once. What is drawn never depends on what is kept.

    Raises UsageError if a single case is larger than the limit, DataError as `load_prepared` does.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        limit_bytes: int,
        read: Callable[[Path], PreparedCase] = load_prepared,
    ) -> None:
        if limit_bytes < 1:
            raise UsageError(f"the memory for prepared cases is a number of bytes of 1 or more, got {limit_bytes}")
        self.limit_bytes = limit_bytes
        self.reads = 0
        self._files = dict(files)
        self._read = read
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, PreparedCase] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._reading: dict[str, Future[PreparedCase]] = {}

    def __getitem__(self, name: str) -> PreparedCase:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            pending = self._reading.get(name)
            if pending is None:
                path = self._files[name]
                mine: Future[PreparedCase] = Future()
                self._reading[name] = mine
                self._make_room(self._expected(name))
        return pending.result() if pending is not None else self._fetch(name, path, mine)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def kept_bytes(self) -> int:
        """What the cases kept now take."""
        with self._lock:
            return sum(self._sizes[name] for name in self._kept)

    def _fetch(self, name: str, path: Path, mine: Future[PreparedCase]) -> PreparedCase:
        """Read a case outside the lock and hand it to all who wait for it."""
        try:
            case = self._read_named(name, path)
            size = bytes_of(case)
            if size > self.limit_bytes:
                raise UsageError(
                    f"{path}: this case alone takes {size} bytes, more than the {self.limit_bytes} that prepared cases "
                    "may take; allow more memory"
                )
        except BaseException as error:
            with self._lock:
                del self._reading[name]
            mine.set_exception(error)
            raise
        with self._lock:
            self.reads += 1
            self._sizes[name] = size
            del self._reading[name]
            self._make_room(size)
            self._kept[name] = case
        mine.set_result(case)
        return case

    def _read_named(self, name: str, path: Path) -> PreparedCase:
        try:
            return self._read(path)
        except LesionLossError:
            raise
        except Exception as error:
            raise DataError(f"{name}: {path} could not be read: {type(error).__name__}: {error}") from error

    def _expected(self, name: str) -> int:
        return self._sizes.get(name, max(self._sizes.values(), default=0))

    def _make_room(self, wanted: int) -> None:
        """Drop the cases used longest ago until kept, being read and wanted fit. The lock is held."""
        coming = sum(self._expected(name) for name in self._reading)
        taken = sum(self._sizes[name] for name in self._kept)
        while self._kept and taken + max(coming, wanted) > self.limit_bytes:
            dropped, _ = self._kept.popitem(last=False)
            taken -= self._sizes[dropped]


def bytes_of(case: PreparedCase) -> int:
    """Memory of a case with the index of its voxels, which the samplers make and keep with it."""
    ignore = 0 if case.ignore is None else case.ignore.nbytes
    voxels = int(case.brain.sum()) + int((case.reference > 0).sum())
    return case.image.nbytes + case.reference.nbytes + case.brain.nbytes + ignore + INDEX_BYTES * voxels


def in_memory(
    cases: Mapping[str, PreparedCase] | Sequence[PreparedCase],
) -> Mapping[str, PreparedCase]:
    """Cases by their names. Raises UsageError where two have the same name."""
    if isinstance(cases, Mapping):
        return cases
    named = {case.name: case for case in cases}
    if len(named) < len(cases):
        names = [case.name for case in cases]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two cases are named {twice!r}; names tell cases apart, so give each its own")
    return named
