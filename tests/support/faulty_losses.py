"""A slow loss, and some that bring down the process that computes them: the first finds no marker in $FAULTS."""

import os
import resource
import signal
import time
from pathlib import Path

import torch
from torch import Tensor

from lesionloss import Voxels, loss


def first(name: str) -> bool:
    """Whether this is the first call with that name in the folder $FAULTS."""
    try:
        os.close(os.open(Path(os.environ["FAULTS"]) / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def soft_dice(v: Voxels) -> Tensor:
    c = v.counts()
    return 1 - (2 * c.tp + v.eps) / (2 * c.tp + c.fp + c.fn + v.eps)


@loss("slow", source="a test")
def slow(v: Voxels) -> Tensor:
    """Slow: a twentieth of a second each time."""
    time.sleep(0.05)
    return soft_dice(v)


@loss("killed_once", source="a test")
def killed_once(v: Voxels) -> Tensor:
    """Killed once: by SIGKILL, as the kernel does where memory is short."""
    if first("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    return soft_dice(v)


@loss("starved_once", source="a test")
def starved_once(v: Voxels) -> Tensor:
    """Starved once: the process may take no more memory, and asks for 4 GB."""
    if first("starved"):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, taken + 2**28))
        torch.ones(2**30)
    return soft_dice(v)


@loss("full_once", source="a test")
def full_once(v: Voxels) -> Tensor:
    """Full once: files of the process may not grow above 4 kB, which a model does."""
    if first("full"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    return soft_dice(v)


@loss("undefined_once", source="a test")
def undefined_once(v: Voxels) -> Tensor:
    """Undefined once: its value is NaN."""
    return soft_dice(v) * (torch.nan if first("undefined") else 1)


@loss("stopped_once", source="a test")
def stopped_once(v: Voxels) -> Tensor:
    """Stopped once: by SIGTERM, as a cluster does that needs the machine for somebody else."""
    if first("stopped"):
        os.kill(os.getpid(), signal.SIGTERM)
    return soft_dice(v)
