"""Locks as other processes leave them."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from lesionloss.core.locks import LockHolder


def a_dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def write(path: Path, holder: LockHolder, *, touched_ago: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(holder)))
    then = time.time() - touched_ago
    os.utime(path, (then, then))
    return path
