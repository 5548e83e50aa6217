"""Who works on what: a file that one of several processes creates, on one machine or on many that share a disk.

A claim names host, process and the moment it began, and its file is touched while the work goes on. A claim whose
process is gone is taken over at once where that can be seen (same machine, same boot, same process namespace), and
elsewhere after a minute without a touch. Times are compared by the clock of the disk, not by those of the machines.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lesionloss.core.files import create_text

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds a claim. `scope`: the machine's boot and process namespace; `started`: when the process began, in the
    kernel's ticks (0: unknown); `since`: seconds of Unix time; `token`: no two claims share it."""

    host: str
    scope: str
    pid: int
    started: int
    since: float
    token: str


@dataclass(frozen=True)
class Held:
    """A claim as it was found: who holds it and when it was last touched, by the clock of the disk."""

    holder: Holder
    touched: float

    def alive(self, now: float) -> bool:
        """Whether its process goes on, as far as one can know; `now` by the clock of the disk."""
        if self.holder.scope == scope():
            return process_started(self.holder.pid) in (self.holder.started, 0)
        return now - self.touched < STALE_SECONDS


class Claim:
    """A claim that this process holds; as a context it is touched in the background and released at the end.

    `lost`: another process took it over, seen at the last touch.
    """

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path = path
        self.holder = holder
        self.lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name=f"claim {path.name}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # a claim that stays is found to be nobody's
            if self.mine():
                self.path.unlink(missing_ok=True)

    def mine(self) -> bool:
        """Whether nobody has taken it over, thinking that this process was gone. Raises OSError of a failing disk."""
        try:
            return bool(json.loads(self.path.read_text(encoding="utf-8"))["token"] == self.holder.token)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return False

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                self.lost = self.lost or not self.mine()
                if not self.lost:
                    os.utime(self.path)


def take(path: Path) -> Claim | None:
    """Claim `path`, or take it over from one who is gone; None where another process is at it."""
    claim = Claim(path, new_holder())
    text = json.dumps(asdict(claim.holder)) + "\n"
    if create_text(path, text):
        return claim
    found = held(path)
    if found is None:  # released in this moment, or cut off while it was written
        return _replace_damaged(path, claim, text)
    if found.alive(clock_of(path.parent)):
        return None
    return claim if _take_over(path, text, found) else None


def comes_free(path: Path) -> bool:
    """Wait until a claim is released or its process gone; False as soon as it is seen that somebody works on."""
    first = held(path)
    while True:
        found = held(path)
        if first is None or found is None or not found.alive(clock_of(path.parent)):
            return True
        if found != first:
            return False
        time.sleep(LOOK_SECONDS)


def forget(path: Path) -> None:
    """Remove a claim on something that is done, where its process was killed before it could."""
    found = held(path)
    if found is not None and not found.alive(clock_of(path.parent)):
        path.unlink(missing_ok=True)


def held(path: Path) -> Held | None:
    """Who holds a claim; None where there is none, or nothing that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Held(Holder(**record), path.stat().st_mtime)
    except (OSError, ValueError, TypeError):
        return None


def clock_of(folder: Path) -> float:
    """What time it is for the disk of `folder`, as its files will tell."""
    probe = folder / f".writing-clock-{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _replace_damaged(path: Path, claim: Claim, text: str) -> Claim | None:
    """A claim without a readable holder is nobody's after a while."""
    with contextlib.suppress(FileNotFoundError):
        if clock_of(path.parent) - path.stat().st_mtime < STALE_SECONDS:
            return None
        path.unlink()
    return claim if create_text(path, text) else None


def _take_over(path: Path, text: str, found: Held) -> bool:
    """Replace a claim of one who is gone. Only who creates the file beside it may do so, after a second look."""
    gate = path.with_name(path.name + ".taking")
    if not create_text(gate, text):
        with contextlib.suppress(FileNotFoundError):
            if clock_of(path.parent) - gate.stat().st_mtime > STALE_SECONDS:
                gate.unlink()
        return False
    try:
        now = held(path)
        if now is not None and (now.holder.token != found.holder.token or now.alive(clock_of(path.parent))):
            return False
        path.unlink(missing_ok=True)
        return create_text(path, text)
    finally:
        gate.unlink(missing_ok=True)


def new_holder() -> Holder:
    """This process, as a holder of something from now on."""
    pid = os.getpid()
    return Holder(socket.gethostname(), scope(), pid, process_started(pid) or 0, time.time(), uuid.uuid4().hex)


def scope() -> str:
    """Within what a process number means one process: this boot of this machine, and the namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_started(pid: int) -> int | None:
    """When a process began, in ticks since boot: 0 where the system doesn't tell, None where there is no process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _process_answers(pid)
    except (OSError, IndexError, ValueError):
        return None  # it ended while it was looked at


def _process_answers(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
