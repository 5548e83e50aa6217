"""Locks: files that say which process works on a trial or case, on one machine or on several that share a disk.

A lock names host, process and start time, and its holder touches the file while it works. Where the holder's end can be
seen (same machine, same boot, same process namespace), another process takes the lock over at once; elsewhere after a
minute without a touch. Times come from the clock of the disk, because clocks of machines may differ.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lesionloss.core.files import create_text, temporary_name
from lesionloss.core.process_identity import process_scope, process_started

TOUCH_SECONDS = 10.0
STALE_SECONDS = 60.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class LockHolder:
    """The process that holds a lock.

    Attributes:
        scope: The machine's boot and process namespace, within which `pid` is unique.
        started: When the process started, in ticks of the kernel; 0: unknown.
        since: When it acquired the lock, in seconds of Unix time.
        token: A unique name of this lock.
    """

    host: str
    scope: str
    pid: int
    started: int
    since: float
    token: str


@dataclass(frozen=True)
class FoundLock:
    """A lock as it was read: its holder, and when it was last touched (by the clock of the disk)."""

    holder: LockHolder
    touched: float

    def is_alive(self, now: float) -> bool:
        """Return whether the holder still works, as far as one can know; `now` is by the clock of the disk."""
        if self.holder.scope == process_scope():
            return process_started(self.holder.pid) in (self.holder.started, 0)
        return now - self.touched < STALE_SECONDS


class Lock:
    """A lock that this process holds; as a context it is touched in the background and released at the end.

    Attributes:
        lost: Another process took the lock over; noticed at the last touch.
    """

    def __init__(self, path: Path, holder: LockHolder) -> None:
        """Make the object only; `acquire_lock` writes the file."""
        self.path = path
        self.holder = holder
        self.lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._touch_regularly, daemon=True, name=f"lock {path.name}")

    def __enter__(self) -> Self:
        """Start touching the file."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop touching the file and release the lock."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # a lock that is left behind becomes stale
            if self.is_ours():
                self.path.unlink(missing_ok=True)

    def is_ours(self) -> bool:
        """Return whether no other process has taken the lock over.

        Raises:
            OSError: The disk fails.
        """
        try:
            return bool(json.loads(self.path.read_text(encoding="utf-8"))["token"] == self.holder.token)
        except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
            return False

    def _touch_regularly(self) -> None:
        while not self._stop.wait(TOUCH_SECONDS):
            with contextlib.suppress(OSError):
                self.lost = self.lost or not self.is_ours()
                if not self.lost:
                    os.utime(self.path)


def acquire_lock(path: Path) -> Lock | None:
    """Lock `path`, or take over a stale lock.

    Returns:
        The lock; None where another process holds it.
    """
    lock = Lock(path, new_holder())
    text = json.dumps(asdict(lock.holder)) + "\n"
    if create_text(path, text):
        return lock
    found = read_lock(path)
    if found is None:  # released in this moment, or cut off while it was written
        return _replace_damaged(path, lock, text)
    if found.is_alive(disk_time(path.parent)):
        return None
    return lock if _take_over(path, text, found) else None


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Lock `path` inside the block; where another process holds it, wait until it is free."""
    while (lock := acquire_lock(path)) is None:
        wait_until_free(path)
    with lock:
        yield


def wait_until_free(*paths: Path) -> bool:
    """Wait until one of some locks is released or stale.

    Returns:
        True then; False as soon as the holders of all are seen to work.
    """
    first = {path: read_lock(path) for path in paths}
    while first:
        for path, before in list(first.items()):
            found = read_lock(path)
            if before is None or found is None or not found.is_alive(disk_time(path.parent)):
                return True
            if found != before:
                del first[path]
        time.sleep(POLL_SECONDS if first else 0)
    return False


def remove_stale_lock(path: Path) -> None:
    """Remove a lock whose holder was killed before it could release it."""
    found = read_lock(path)
    if found is not None and not found.is_alive(disk_time(path.parent)):
        path.unlink(missing_ok=True)


def read_lock(path: Path) -> FoundLock | None:
    """Read a lock; None where there is none or it is unreadable."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return FoundLock(LockHolder(**record), path.stat().st_mtime)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def disk_time(folder: Path) -> float:
    """Return the time by the clock of the disk that holds `folder`, in seconds of Unix time."""
    probe = temporary_name(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _replace_damaged(path: Path, lock: Lock, text: str) -> Lock | None:
    """Replace a lock without a readable holder once it is stale."""
    with contextlib.suppress(FileNotFoundError):
        if disk_time(path.parent) - path.stat().st_mtime < STALE_SECONDS:
            return None
        path.unlink()
    return lock if create_text(path, text) else None


def _take_over(path: Path, text: str, found: FoundLock) -> bool:
    """Replace a stale lock. Only the process that creates the file beside it may do so, after a second look."""
    gate = path.with_name(path.name + ".taking")
    if not create_text(gate, text):
        with contextlib.suppress(FileNotFoundError):
            if disk_time(path.parent) - gate.stat().st_mtime > STALE_SECONDS:
                gate.unlink()
        return False
    try:
        now = read_lock(path)
        if now is not None and (now.holder.token != found.holder.token or now.is_alive(disk_time(path.parent))):
            return False
        path.unlink(missing_ok=True)
        return create_text(path, text)
    finally:
        gate.unlink(missing_ok=True)


def new_holder() -> LockHolder:
    """Return this process as the holder of a new lock."""
    pid = os.getpid()
    return LockHolder(
        socket.gethostname(), process_scope(), pid, process_started(pid) or 0, time.time(), uuid.uuid4().hex
    )
