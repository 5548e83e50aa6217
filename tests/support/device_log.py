"""What a device was asked to do: operations, and the places where the host waits for it."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

PACKAGE = "lesionloss."


@dataclass(frozen=True)
class Wait:
    """The host waits for the device: why, and the innermost function of the package (or of the tests) then."""

    why: str
    function: str
    line: int


@dataclass
class DeviceLog:
    """Operations by name and the waits, in order, since it was opened."""

    operations: Counter[str] = field(default_factory=Counter)
    waits: list[Wait] = field(default_factory=list)

    def unnamed(self, allowed: dict[str, str]) -> list[Wait]:
        """Return the waits of functions that are not among the allowed ones."""
        return [wait for wait in self.waits if wait.function not in allowed]


_open: list[DeviceLog] = []


@contextmanager
def device_log() -> Iterator[DeviceLog]:
    """Note operations and waits inside the block."""
    log = DeviceLog()
    _open.append(log)
    try:
        yield log
    finally:
        _open.remove(log)


def note_operation(name: str) -> None:
    """Count an operation."""
    for log in _open:
        log.operations[name] += 1


def note_wait(why: str) -> None:
    """Note a wait of the function that runs."""
    if _open:
        function, line = _place()
        for log in _open:
            log.waits.append(Wait(why, function, line))


def _name(frame: FrameType) -> str:
    """The function, without those that are defined inside it."""
    return frame.f_code.co_qualname.partition(".<locals>")[0]


def _place() -> tuple[str, int]:
    """The innermost function of the package with its module, and the line; outside it, that of a test."""
    frame, outside = sys._getframe(2), None
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(PACKAGE):
            return f"{module.removeprefix(PACKAGE)}.{_name(frame)}", frame.f_lineno
        if outside is None and not module.startswith(("torch", "virtual_gpu", "device_log")):
            outside = f"{module}.{_name(frame)}", frame.f_lineno
        frame = frame.f_back
    return outside or ("?", 0)
