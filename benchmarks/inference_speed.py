"""The first table of `inference.py`: time and memory of each mode for a whole volume, each in a process of its own."""

import itertools
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor, nn

from lesionloss.core.randomness import torch_generator
from lesionloss.inference import (
    ChosenMode,
    SlidingWindow,
    WholeImage,
    choose_inference_mode,
    keep_memory_for,
    predict_logits,
)
from lesionloss.networks import build_network, channels_last, logits_of

CHANNELS = ("baseline", "followup", "difference")
WINDOW, STRIDE = 80, 20
LOOP, DEFAULT = "the papers' loop: 80³, stride 20", "as lesionloss chooses"


@dataclass(frozen=True)
class Job:
    """A mode to predict a volume; `sample`: windows that are timed instead of all (0: all)."""

    name: str
    network: str = ""
    shape: tuple[int, ...] = ()
    overlap: float = 0.0
    sample: int = 0
    memory: float = 0.0


def windows_of(shape: Sequence[int], side: int, stride: int) -> list[tuple[slice, ...]]:
    """Where the papers' loop puts its windows: every `stride` voxels, the last ones moved inside."""
    starts = [[min(at * stride, n - side) for at in range(math.ceil((n - side) / stride) + 1)] for n in shape]
    return [tuple(slice(at, at + side) for at in corner) for corner in itertools.product(*starts)]


@dataclass
class Timed:
    """A network of which only the first `sample` windows are computed (0: all), and what those took."""

    network: nn.Module
    sample: int
    windows: int = 0
    computed: int = 0
    seconds: float = 0.0
    cores: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        self.windows += len(x)
        if self.sample and self.computed >= self.sample:
            return torch.zeros_like(x[:, :1])
        begun, cores = time.perf_counter(), time.process_time()
        logits = logits_of(self.network(x))
        self.seconds += time.perf_counter() - begun
        self.cores += time.process_time() - cores
        self.computed += len(x)
        return logits

    @property
    def rest(self) -> float:
        """Windows that were not computed, as a multiple of those that were."""
        return self.windows / self.computed - 1 if self.computed else 0.0


def papers_loop(forward: Timed, image: NDArray[np.float32]) -> None:
    """Probabilities added up window by window in NumPy."""
    total, count = (np.zeros(image.shape[1:], np.float32) for _ in range(2))
    for window in windows_of(image.shape[1:], WINDOW, STRIDE):
        x = torch.from_numpy(np.ascontiguousarray(image[(slice(None), *window)])[None])
        total[window] += torch.sigmoid(forward(x))[0, 0].numpy()
        count[window] += 1
    np.divide(total, count, out=total)


def monai_windows(forward: Timed, image: Tensor, overlap: float) -> None:
    from monai.inferers.utils import sliding_window_inference

    sliding_window_inference(image[None], (WINDOW,) * 3, 4, forward, overlap=overlap, mode="gaussian")


def ours(network: nn.Module, image: Tensor, choice: ChosenMode, free: int | None) -> str:
    kept = "kept" if keep_memory_for(choice, "cpu", free) else "given back"
    predict_logits(channels_last(network), image, choice.mode)
    return f"{choice}; freed memory {kept}"


def measure(job: Job) -> dict[str, Any]:
    """Seconds, core-seconds and GiB for the whole volume, multiplied where only some windows were timed."""
    network = build_network(job.network, torch_generator("benchmark")).eval()
    image = torch.randn((len(CHANNELS), *job.shape), generator=torch_generator("image"))
    free = round(job.memory * 2**30) or None
    window = (WINDOW,) * 3
    chosen = choose_inference_mode(
        network,
        tuple(image.shape),
        own=SlidingWindow(window, overlap=0.25),
        precision="float32",
        device="cpu",
        free=free,
    )
    forward = Timed(network, job.sample)
    before, remark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
    begun, cores = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        if job.name == LOOP:
            papers_loop(forward, image.numpy())
        elif job.overlap:
            monai_windows(forward, image, job.overlap)
        else:
            remark = ours(
                network, image, chosen if job.name == DEFAULT else ChosenMode(WholeImage(), "as requested"), free
            )
    seconds, cores = time.perf_counter() - begun, time.process_time() - cores
    gib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    if forward.windows:
        remark = f"{forward.computed} of {forward.windows} windows timed"
    seconds, cores = (
        whole + inside * forward.rest for whole, inside in ((seconds, forward.seconds), (cores, forward.cores))
    )
    return {"seconds": seconds, "cores": cores, "gib": gib, "remark": remark}


def in_process(job: Job) -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(job))], check=True, capture_output=True, text=True
    )
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return answer


def speed_table(network: str, shape: tuple[int, ...], sample: int, memory: float) -> Table:
    jobs = (
        Job(LOOP),
        Job("MONAI's sliding window, overlap .5", overlap=0.5),
        Job("MONAI's sliding window, overlap .25", overlap=0.25),
        Job("the whole volume at once"),
        Job(DEFAULT),
    )
    title = f"{network}, {' x '.join(map(str, shape))}, float32"
    table = Table("mode", "s", "cores x s", "loop's cores x s over it", "GiB", "", title=title)
    first = 0.0
    for job in jobs:
        found = in_process(replace(job, network=network, shape=shape, sample=sample, memory=memory))
        first = first or float(found["cores"])
        numbers = (f"{found['seconds']:.1f}", f"{found['cores']:.1f}", f"{first / found['cores']:.1f}")
        table.add_row(job.name, *numbers, f"{found['gib']:.1f}", str(found["remark"]))
    return table


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(json.dumps(measure(Job(**{**job, "shape": tuple(job["shape"])}))))
