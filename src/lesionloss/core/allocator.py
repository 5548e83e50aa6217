"""Memory of the process: keeping freed blocks for the next step, and how much memory is free.

glibc returns large freed blocks to the operating system, which clears them before they are used again. Keeping
them saves that time at every step.
"""

import ctypes
import sys
from pathlib import Path

from lesionloss.core.control_groups import control_groups, read_number

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next step.

    The memory of the process then stays at its peak, and may grow to twice of it, as blocks of different size are not
    joined.

    Returns:
        Whether it worked: True only on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    except (OSError, AttributeError):
        return False


def free_memory() -> int:
    """Bytes that this process can still allocate, within the limits of its control groups; 0 if unknown."""
    found = [_free_of_machine(Path("/proc/meminfo")), *map(_free_of_group, control_groups("memory"))]
    known = [amount for amount in found if amount is not None]
    return min(known, default=0)


def _free_of_machine(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None


def _free_of_group(group: Path) -> int | None:
    limit = read_number(group / "memory.max", group / "memory.limit_in_bytes")
    used = read_number(group / "memory.current", group / "memory.usage_in_bytes")
    return None if limit is None or used is None else max(0, limit - used)
