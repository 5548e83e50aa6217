"""How much faster patches are made than a training step runs, and how long a step waits for them.

    python benchmarks/data_patches.py
    python benchmarks/data_patches.py --steps 1 --workers 2
    python benchmarks/data_patches.py --at-once     # patch by patch, beside whole batches as they are made on a GPU

Cases of 182 x 218 x 182 voxels with three channels. The setups: those of HyTver and of Cabezas & Diez, each with its
own network, patches and augmentation, and the cheap ones of the built-in plans. The table shows the CPU time of one
core for a step and for a batch, and how long a step waits for its batch when workers and training share the cores.
With --at-once: a batch that is made patch by patch, one that is made at once by the operations of a GPU, here on the
processor, and the interpolation of a whole batch alone, in one call: CPU time on one thread, time of the clock on two;
and the largest difference between the first two, with the labels that differ.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.data.batches.augmentation import CHEAP
from lesionloss.data.batches.augmentation_presets import Steps, dscpp, hytver, topk
from lesionloss.data.batches.device_batches import DrawnStream, make_device_batch
from lesionloss.data.batches.device_cohort import DeviceCohort
from lesionloss.data.batches.patch_samplers import Sampler, WeightedCrop
from lesionloss.data.batches.sliding_grid import SlidingGrid
from lesionloss.data.batches.stream import BatchStream, TrainingBatch
from lesionloss.data.batches.transforms import PointTransform
from lesionloss.data.prepared import PreparedCase
from lesionloss.losses.criterion import build
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.training.loop import forward
from lesionloss.training.precision import resolve_precision

SHAPE = (182, 218, 182)
LESIONS = 30
GOAL = 5
STREAM = ("benchmark",)


@dataclass(frozen=True)
class TrainingSetup:
    """A network, its patches and their augmentation."""

    name: str
    network: str
    sampler: Sampler
    augmentation: Steps
    batch: int


SETUPS = (
    TrainingSetup("built-in", "unet3d(filters=8)", WeightedCrop((32, 32, 32)), CHEAP, 8),
    TrainingSetup("Cabezas & Diez", "unet3d(filters=32)", SlidingGrid(), (), 16),
    TrainingSetup("HyTver", "vnet(filters=16)", WeightedCrop((80, 80, 80)), hytver(), 4),
)
AUGMENTED = (
    TrainingSetup("HyTver, small", "", WeightedCrop((32, 32, 16)), hytver(), 4),
    TrainingSetup("DSC++ steps", "", WeightedCrop((64, 64, 64)), dscpp(), 4),
    TrainingSetup("TopK Dice steps, slices", "", WeightedCrop((160, 160, 1)), topk(), 8),
)


def case(name: str, shape: tuple[int, int, int] = SHAPE) -> PreparedCase:
    """Make a brain that fills four fifths of each axis, noise in it, and cubes of 5 voxels for lesions."""
    rng = numpy_generator("benchmark case", name)
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    brain = np.asarray(sum(axis**2 for axis in axes) < 0.8**2)
    reference = np.zeros(shape, dtype=np.uint8)
    for centre in rng.choice(np.argwhere(brain), LESIONS):
        reference[tuple(slice(at, at + 5) for at in centre)] = 1
    visits = rng.standard_normal((2, *shape), dtype=np.float32) * brain
    return PreparedCase(
        name=name,
        patient=name,
        image=np.stack([*visits, visits[1] - visits[0]]),
        reference=reference,
        brain=brain,
        affine=np.eye(4),
        offset=(0, 0, 0),
        original_shape=shape,
        channels=("baseline", "followup", "difference"),
    )


def trainer(setup: TrainingSetup) -> Callable[[TrainingBatch], None]:
    """Make a function that trains on one batch: forward, backward and Adam, as fast as this machine does it."""
    network = channels_last(build_network(setup.network, torch_generator(*STREAM)))
    seed_dropout(network, torch_generator(*STREAM, "dropout"))
    criterion = build("dice + cross_entropy")
    optimiser = torch.optim.Adam(network.parameters())
    precision = resolve_precision("auto", "cpu")

    def step(batch: TrainingBatch) -> None:
        x = torch.from_numpy(batch.images).to(memory_format=torch.channels_last_3d)
        loss = criterion(forward(network, x, precision), torch.from_numpy(batch.references))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def cpu_ms(call: Callable[[], object], times: int) -> float:
    """Measure the CPU milliseconds of a call on one core, after one call that warms up; other work hardly matters."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    call()
    start = time.process_time()
    for _ in range(times):
        call()
    spent = 1e3 * (time.process_time() - start) / times
    torch.set_num_threads(threads)
    return spent


def row(setup: TrainingSetup, cases: dict[str, PreparedCase], workers: int, steps: int) -> list[str]:
    """Measure one setup."""

    def opened(number: int) -> BatchStream:
        return BatchStream(cases, setup.sampler, setup.augmentation, STREAM, batch=setup.batch, workers=number)

    train = trainer(setup)
    with opened(0) as stream:
        fixed = next(stream)
        made = cpu_ms(lambda: next(stream), 4 * steps)
    used = cpu_ms(lambda: train(fixed), steps)
    waits = []
    with opened(workers) as stream:
        for _ in range(steps + 1):
            start = time.perf_counter()
            batch = next(stream)
            waits.append(1e3 * (time.perf_counter() - start))
            train(batch)
    numbers = [f"{used:.0f}", f"{made:.1f}", f"{used / made:.0f}", f">= {GOAL}"]
    return [setup.name, *numbers, f"{statistics.median(waits[1:]):.1f}"]


def at_once(setup: TrainingSetup, cases: dict[str, PreparedCase], steps: int) -> list[str]:
    """Measure one setup patch by patch, at once, and the interpolation alone, in turns: least times of all rounds."""
    cohort = DeviceCohort(cases, "cpu")
    stream = BatchStream(cases, setup.sampler, setup.augmentation, STREAM, batch=setup.batch)
    drawn = DrawnStream(cases, setup.sampler, setup.augmentation, STREAM, batch=setup.batch)
    one, whole = next(stream), make_device_batch(cohort, drawn.draws, next(drawn))
    apart = np.abs(whole.images.numpy() - one.images).max()
    labels = int((whole.references.numpy() != one.references).sum())
    ways: list[Callable[[], object]] = [
        lambda: next(stream),
        lambda: make_device_batch(cohort, drawn.draws, next(drawn)),
    ]
    if any(isinstance(step, PointTransform) for step in setup.augmentation):
        ways.append(interpolation(torch.from_numpy(one.images)))
    before, spent = torch.get_num_threads(), []
    for threads, clock in ((1, time.process_time), (2, time.perf_counter)):
        torch.set_num_threads(threads)
        rounds = [[timed(way, clock) for way in ways] for _ in range(4 * steps)]
        spent += [f"{1e3 * min(each):.0f}" for each in zip(*rounds, strict=True)] + ["-"] * (3 - len(ways))
    torch.set_num_threads(before)
    return [setup.name, *spent, f"{apart:.1e}", str(labels)]


def interpolation(images: torch.Tensor) -> Callable[[], object]:
    """Interpolate whole images of a batch linearly, at points that lie askew, in one call of `grid_sample`."""
    axes = images.ndim - 2
    turn = 0.7 * torch.eye(axes, axes + 1) + 0.1 * torch.ones(axes, axes + 1)
    grid = torch.nn.functional.affine_grid(turn.expand(len(images), axes, axes + 1), list(images.shape), False)
    return lambda: torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of a call."""
    start = clock()
    call()
    return clock() - start


def main(
    steps: Annotated[int, typer.Option(help="Steps of each setup after the first, which warms up.")] = 3,
    workers: Annotated[int, typer.Option(help="Workers that make batches.")] = 2,
    cases: Annotated[int, typer.Option(help="Cases in memory.")] = 3,
    together: Annotated[
        bool, typer.Option("--at-once", help="Compare batches by patch and at once; nothing else.")
    ] = False,
) -> None:
    """Time the making of patches beside the training step that uses them."""
    console = Console()
    machine = platform.processor() or platform.machine()
    console.print(
        f"{machine}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {torch.get_num_threads()} threads"
    )
    console.print(
        ", ".join(f"{package} {version(package)}" for package in ("numpy", "torch", "monai")), highlight=False
    )
    cohort = {name: case(name) for name in (f"{index:02d}" for index in range(cases))}
    if together:
        ways = ("by patch", "at once", "interpolation alone")
        columns = [f"{way}, {unit}" for unit in ("CPU ms", "ms on 2 threads") for way in ways]
        table = Table("setup", *columns, "largest difference", "other labels", box=None)
        for setup in (*SETUPS, *AUGMENTED):
            table.add_row(*at_once(setup, cohort, steps))
        console.print(table)
        return
    heads = ("CPU ms per step", "CPU ms per batch", "times as fast", "goal", f"ms waited per step, {workers} workers")
    for setup in SETUPS:
        table = Table("setup", *heads, box=None)
        table.add_row(*row(setup, cohort, workers, steps))
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
