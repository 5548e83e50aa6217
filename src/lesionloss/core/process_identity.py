"""Which process a number means, and whether it still runs: numbers of ended processes are used again."""

import os
import socket
from pathlib import Path


def process_scope() -> str:
    """Return what process numbers are unique within: this boot of this machine, and the process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; 0: unknown, None: there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_without_proc(pid)
    except (OSError, IndexError, ValueError):
        return None  # it ended meanwhile


def _started_without_proc(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
