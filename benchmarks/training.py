"""Training: the time and memory of a step in each variant, and whether the chosen precision learns as float32 does.

    python benchmarks/training.py
    python benchmarks/training.py --side 48 --batch 2 --steps 3
    python benchmarks/training.py --only learning

First table: one training step of a network, each variant in its own process, because the allocator can be set once
only. The rows: plain PyTorch, channels-last, freed memory kept, both, the same in bfloat16 where the machine has it,
and the choice of `lesionloss train`. Cores x seconds is the time of all cores for a step, which other work on the
machine hardly changes. Second table: mean loss of every tenth of a training run, three seeds, float32 and the choice.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from lesionloss.core.allocator import keep_freed_memory
from lesionloss.core.devices import resolve_device
from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.losses.criterion import build
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.training.execution import choose_execution
from lesionloss.training.forward import outputs_of
from lesionloss.training.loop import train
from lesionloss.training.precision import resolve_precision
from lesionloss.training.trial import TrainingRecipe, Trial

CHANNELS = ("baseline", "followup", "difference")
console = Console(width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True)
class Job:
    """A variant of the training step; `chosen`: let the program choose precision and allocator."""

    name: str
    precision: str
    last: bool
    keep: bool
    chosen: bool = False
    network: str = ""
    side: int = 0
    batch: int = 0
    steps: int = 0
    device: str = "cpu"


JOBS = (
    Job("plain PyTorch", "float32", last=False, keep=False),
    Job("channels-last", "float32", last=True, keep=False),
    Job("freed memory kept", "float32", last=False, keep=True),
    Job("channels-last, memory kept", "float32", last=True, keep=True),
    Job("bf16, channels-last, memory kept", "bf16", last=True, keep=True),
    Job("chosen by lesionloss", "auto", last=True, keep=False, chosen=True),
)


def recipe_of(side: int, batch: int, steps: int, precision: str) -> TrainingRecipe:
    sides = (side, side, side)
    return TrainingRecipe(
        steps=steps,
        batch=batch,
        patch=sides,
        jitter=3,
        foreground_share=1.0,
        learning_rate=1e-3,
        poly_power=0.9,
        augment=True,
        precision=precision,
        window=sides,
        overlap=0.25,
        threshold=0.5,
    )


def measure(job: Job) -> dict[str, float | str]:
    """Seconds and core-seconds of a step, peak memory in GiB; the first step is not counted."""
    precision, description = job.precision, ""
    if job.chosen:
        precision = resolve_precision("auto", job.device)
        execution = choose_execution(
            recipe_of(job.side, job.batch, 1, precision), job.network, len(CHANNELS), job.device
        )
        description = execution.describe()
    elif job.keep:
        keep_freed_memory()
    network = build_network(job.network, torch_generator("benchmark")).train()
    network = (channels_last(network) if job.last else network).to(job.device)
    optimiser, criterion = torch.optim.Adam(network.parameters()), build("hytver")
    shape = (job.batch, len(CHANNELS), job.side, job.side, job.side)
    images = torch.randn(shape, generator=torch_generator("images")).to(job.device)
    labels = (torch.rand((job.batch, *shape[2:]), generator=torch_generator("labels")) < 0.01).to(job.device)
    layout = torch.channels_last_3d if job.last else torch.contiguous_format
    taken: list[tuple[float, float]] = []
    for step in range(job.steps + 1):
        start_time, cores = time.perf_counter(), time.process_time()
        seed_dropout(network, torch_generator("dropout", step))
        optimiser.zero_grad(set_to_none=True)
        loss = criterion(outputs_of(network, images.contiguous(memory_format=layout), precision).logits, labels)
        torch.autograd.backward(loss)
        optimiser.step()
        if job.device != "cpu":
            torch.cuda.synchronize()
        taken.append((time.perf_counter() - start_time, time.process_time() - cores))
    seconds, cores = (statistics.median(values) for values in zip(*taken[1:], strict=True))
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "cores": cores, "gib": gib, "description": description}


def in_process(job: Job) -> dict[str, float | str]:
    found = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(asdict(job))], check=True, capture_output=True, text=True
    )
    answer: dict[str, float | str] = json.loads(found.stdout.splitlines()[-1])
    return answer


def steps_table(base: Job, with_bf16: bool) -> None:
    table = Table(
        "variant", "s per step", "cores x s", "relative to the fastest", "peak GiB", title="One training step"
    )
    jobs = [job for job in JOBS if job.precision != "bf16" or with_bf16]
    found = {
        job.name: in_process(
            replace(base, name=job.name, precision=job.precision, last=job.last, keep=job.keep, chosen=job.chosen)
        )
        for job in jobs
    }
    fastest = min(float(row["cores"]) for row in found.values())
    for name, row in found.items():
        seconds, cores, gib = (float(row[key]) for key in ("seconds", "cores", "gib"))
        table.add_row(name, f"{seconds:.2f}", f"{cores:.2f}", f"{cores / fastest:.2f}", f"{gib:.1f}")
    console.print(table)
    console.print(next(str(row["description"]) for row in found.values() if row["description"]), highlight=False)


def case(number: int, side: int = 40) -> PreparedCase:
    """A textured cube with a few bright new lesions: easy, so that a short training learns it."""
    rng = numpy_generator("benchmark case", number)
    visits = rng.normal(size=(2, side, side, side)).astype(np.float32)
    reference = np.zeros((side, side, side), np.uint8)
    for _ in range(4):
        x, y, z = rng.integers(4, side - 4, 3)
        reference[x - 2 : x + 2, y - 2 : y + 2, z - 2 : z + 2] = 1
    visits[1] += 2 * reference
    image = np.stack([*visits, visits[1] - visits[0]])
    brain, shape = np.ones(reference.shape, bool), reference.shape
    return PreparedCase(f"c{number}", f"c{number}", image, CHANNELS, reference, brain, np.eye(4), (0, 0, 0), shape)


def learning_table(device: str, steps: int, precision: str) -> None:
    """Mean loss of every tenth of the steps: the chosen precision against float32, per seed."""
    cases = [case(number) for number in range(4)]
    table = Table("precision", "seed", *[f"{10 * tenth}%" for tenth in range(1, 11)], title="The loss falls alike")
    for kind in dict.fromkeys(("float32", precision)):
        for seed in (1, 2, 3):
            trial = Trial(
                loss="dice_ce",
                dataset="benchmark",
                target="new_lesions",
                network="unet3d(filters=8, levels=3)",
                fold=0,
                seed=seed,
                train=tuple(one.name for one in cases),
                test=(),
                recipe=recipe_of(24, 4, steps, kind),
            )
            losses = [step.loss for step in train(trial, cases, device=device).history]
            tenth = max(1, steps // 10)
            means = [statistics.mean(losses[at : at + tenth]) for at in range(0, tenth * 10, tenth)]
            table.add_row(kind, str(seed), *[f"{mean:.3f}" for mean in means])
    console.print(table)


def main(
    network: Annotated[str, typer.Option(help="The network of the steps.")] = "vnet(filters=16)",
    side: Annotated[int, typer.Option(help="Voxels along each side of a patch.")] = 80,
    batch: Annotated[int, typer.Option(help="Patches in a step.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps that are timed.")] = 3,
    learn: Annotated[int, typer.Option(help="Steps of the training runs that are compared; a multiple of 10.")] = 60,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    only: Annotated[str, typer.Option(help="steps or learning; both without.")] = "",
    bf16: Annotated[bool, typer.Option(help="Time bf16 on a CPU that only emulates it, too.")] = False,
    job: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if job:
        print(json.dumps(measure(Job(**json.loads(job)))))
        return
    device = resolve_device(device)
    precision = resolve_precision("auto", device)
    where = platform.processor() or platform.machine()
    console.print(
        f"torch {version('torch')}, {where}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}"
    )
    if only in ("", "steps"):
        base = Job("", "", last=True, keep=True, network=network, side=side, batch=batch, steps=steps, device=device)
        steps_table(base, bf16 or precision == "bf16")
    if only in ("", "learning"):
        learning_table(device, learn, "bf16" if bf16 else precision)


if __name__ == "__main__":
    typer.run(main)
