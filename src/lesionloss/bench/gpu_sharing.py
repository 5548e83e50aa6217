"""How many processes share the GPUs of this machine: as many as the memory holds, measured while the first ones train.

Nothing is assumed about a GPU: the first processes, one on each, say how much memory torch has reserved for them.
"""

from typing import TYPE_CHECKING, TypeAlias

import torch

from lesionloss.bench.parallel_trials import PROGRAM_BYTES, USED_SHARE, MemoryNeed, parallel_trials
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.training.state import Step
from lesionloss.training.trial import Trial

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

CORES_OF_PROCESS = 2  # one that launches the work of the GPU, and one that makes batches

SharedNumber: TypeAlias = "Synchronized[int]"


def peak_of_gpu(device: str) -> int:
    """Return the most bytes of a GPU that torch has reserved in this process so far; 0 on a CPU."""
    return 0 if device == "cpu" else torch.cuda.max_memory_reserved(device)


def memory_of_gpu(device: str) -> int:
    """Return the bytes of a GPU; 0 where this machine has none, or another machine chooses it.

    It makes no context on the device.
    """
    known = device not in ("auto", "cpu") and torch.cuda.is_available()
    return torch.cuda.get_device_properties(device).total_memory if known else 0


def processes_on_gpus(gpus: int, gpu_bytes: int, peak_bytes: int, need: MemoryNeed, trials: int, threads: int) -> int:
    """Return how many processes train at a time on all GPUs of this machine: at least one on each.

    Cores and main memory limit them, too.

    Args:
        gpus: GPUs of this machine that may be used.
        gpu_bytes: Memory of one.
        peak_bytes: What a process needs of it; 0: not known yet.
        need: Main memory of a trial.
        trials: Trials to run.
        threads: Threads of each.
    """
    each = int(USED_SHARE * gpu_bytes) // (peak_bytes + PROGRAM_BYTES) if peak_bytes else 1
    return max(gpus, min(gpus * each, parallel_trials(need, trials, max(CORES_OF_PROCESS, threads))))


class GpuMemoryWatcher(SilentWatcher):
    """Keeps the largest memory that any process of a run has needed of a GPU, in a number that they share."""

    def __init__(self, device: str, peak: SharedNumber) -> None:
        """Watch this process on a device."""
        self._device = device
        self._peak = peak

    def step(self, trial: Trial, step: Step) -> None:
        """Look after every step that is read."""
        self.look()

    def look(self) -> None:
        """Take the memory of this process into account."""
        with self._peak.get_lock():
            self._peak.value = max(self._peak.value, peak_of_gpu(self._device))
