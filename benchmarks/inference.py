"""Prediction: what a whole brain costs in each way, and whether the fast ways find the same lesions.

    python benchmarks/inference.py
    python benchmarks/inference.py --only speed --network "longitudinal_vnet(filters=8)" --sample 8
    python benchmarks/inference.py --only accuracy --folder models/inference
    python benchmarks/inference.py --only accuracy --train-steps 60 --patients 4 --spacing 2

First table: a volume of 182 x 218 x 182 through a network with random weights, each way in a process of its own, in
float32: the papers' loop (windows of 80 voxels, 20 apart, one at a time), MONAI's sliding window as it is usually
called, and what lesionloss does: whole, and as it chooses by default. With --sample, some windows are computed and
their time multiplied by the number of all; adding up is done for all.
Cores x seconds is the time of all cores, which other work on the machine hardly changes; GiB is the highest memory
of the process beyond what it held before.

Second table: a network trained on the built-in patients (kept in --folder, so that a second run only predicts) applied
to patients it has not seen: Dice by each way. Third: the same in bf16, on the surroundings of each patient's lesions,
since a processor without bf16 of its own takes minutes for more.
"""

import itertools
import json
import math
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lesionloss.bundle import Record, load_bundle, save_bundle
from lesionloss.data.cohort import open_cohort
from lesionloss.data.prepare import PreparedCase, load_prepared, prepare_cohort
from lesionloss.inference import (
    PAPERS,
    Arithmetic,
    Choice,
    Way,
    Whole,
    Windows,
    choose_way,
    keep_memory_for,
    predict_logits,
    predict_probabilities,
)
from lesionloss.metrics import Case, score
from lesionloss.networks import build_network, channels_last, logits_of
from lesionloss.randomness import torch_generator
from lesionloss.synth import profile_settings
from lesionloss.synth.cohort import write_cohort
from lesionloss.training.checkpoint import Saving
from lesionloss.training.loop import Step, train
from lesionloss.training.precision import cpu_has_fast_bf16
from lesionloss.training.trial import Recipe, Trial

CHANNELS = ("baseline", "followup", "difference")
WINDOW, STRIDE = 80, 20
AROUND = 64  # voxels along each side of what bf16 is tried on
LOOP, DEFAULT = "the papers' loop: 80³, stride 20", "as lesionloss chooses"
console = Console(width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True)
class Job:
    """A way to predict a volume; `sample`: windows that are timed instead of all (0: all)."""

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


def ours(network: nn.Module, image: Tensor, choice: Choice, free: int | None) -> str:
    kept = "kept" if keep_memory_for(choice, "cpu", free) else "given back"
    predict_logits(channels_last(network), image, choice.way)
    return f"{choice}; freed memory {kept}"


def measure(job: Job) -> dict[str, Any]:
    """Seconds, core-seconds and GiB for the whole volume, multiplied where only some windows were timed."""
    network = build_network(job.network, torch_generator("benchmark")).eval()
    image = torch.randn((len(CHANNELS), *job.shape), generator=torch_generator("image"))
    free = round(job.memory * 2**30) or None
    window = (WINDOW,) * 3
    chosen = choose_way(network, tuple(image.shape), window=window, precision="float32", device="cpu", free=free)
    forward = Timed(network, job.sample)
    before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
    begun, cores = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        if job.name == LOOP:
            papers_loop(forward, image.numpy())
        elif job.overlap:
            monai_windows(forward, image, job.overlap)
        else:
            said = ours(network, image, chosen if job.name == DEFAULT else Choice(Whole(), "asked"), free)
    seconds, cores = time.perf_counter() - begun, time.process_time() - cores
    gib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    if forward.windows:
        said = f"{forward.computed} of {forward.windows} windows timed"
    seconds, cores = (
        whole + inside * forward.rest for whole, inside in ((seconds, forward.seconds), (cores, forward.cores))
    )
    return {"seconds": seconds, "cores": cores, "gib": gib, "said": said}


def in_process(job: Job) -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, __file__, "--job", json.dumps(asdict(job))], check=True, capture_output=True, text=True
    )
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return answer


def speed_table(network: str, shape: tuple[int, ...], sample: int, memory: float) -> None:
    jobs = (
        Job(LOOP),
        Job("MONAI's sliding window, overlap .5", overlap=0.5),
        Job("MONAI's sliding window, overlap .25", overlap=0.25),
        Job("the whole volume at once"),
        Job(DEFAULT),
    )
    title = f"{network}, {' x '.join(map(str, shape))}, float32"
    table = Table("way", "s", "cores x s", "loop's cores x s over it", "GiB", "", title=title)
    first = 0.0
    for job in jobs:
        found = in_process(replace(job, network=network, shape=shape, sample=sample, memory=memory))
        first = first or float(found["cores"])
        numbers = (f"{found['seconds']:.1f}", f"{found['cores']:.1f}", f"{first / found['cores']:.1f}")
        table.add_row(job.name, *numbers, f"{found['gib']:.1f}", str(found["said"]))
    console.print(table)


def cohort_of(folder: Path, patients: int, spacing_mm: float) -> list[PreparedCase]:
    """Built-in patients of the easy profile, made and prepared once."""
    settings = profile_settings("demo", {"spacing_mm": spacing_mm})
    write_cohort(folder / "patients", patients, 7, settings, lambda name, done, total: told("patient", done, total))
    index = prepare_cohort(open_cohort(f"msseg2:{folder / 'patients'}"), folder / "prepared")
    return [load_prepared(folder / "prepared" / f"{entry.name}.npz") for entry in index.cases]


def told(what: str, done: int, total: int) -> None:
    print(f"\r{what} {done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def trained(folder: Path, network: str, cases: list[PreparedCase], steps: int) -> nn.Module:
    """The network of an earlier run, or one that is trained now and kept."""
    place = folder / "model"
    if (place / "model.json").is_file():
        return load_bundle(place).network
    sides = (32, 32, 32)
    recipe = Recipe(
        steps=steps,
        batch=4,
        patch=sides,
        jitter=10,
        lesion_share=0.75,
        learning_rate=4e-3,
        decay=0.9,
        augment=True,
        precision="float32",
        window=sides,
        overlap=0.25,
        threshold=0.5,
    )
    trial = Trial(
        loss="dice_ce",
        dataset="built-in",
        target="new_lesions",
        network=network,
        fold=0,
        seed=1,
        train=tuple(case.name for case in cases),
        test=(),
        recipe=recipe,
    )

    def after(step: Step) -> None:
        told(f"loss {step.loss:.3f}, step", step.step, steps)

    saving = Saving(folder / "checkpoint", every_seconds=60)
    found = train(trial, cases, after_step=after, saving=saving).network
    save_bundle(place, found, Record(network=network, channels=CHANNELS, window=sides))
    return found


def around_largest(case: PreparedCase) -> PreparedCase:
    """The case cut to the surroundings of its reference's middle."""
    middle = np.median(np.argwhere(case.lesion), axis=0).astype(int)
    box = tuple(
        slice(low, low + AROUND) for low in np.clip(middle - AROUND // 2, 0, np.array(case.shape) - AROUND).tolist()
    )
    return replace(
        case, image=case.image[(slice(None), *box)], reference=case.reference[box], brain=case.brain[box], ignore=None
    )


def dice_of(network: nn.Module, case: PreparedCase, way: Way, precision: str) -> float:
    found = predict_probabilities(network, case, way, arithmetic=Arithmetic(precision))[0] > 0.5
    return score(Case(found, case.lesion, spacing_mm=case.spacing_mm), ["dice"])["dice"]


def accuracy_table(network: nn.Module, cases: list[PreparedCase]) -> None:
    """Dice of each unseen patient by each way, and the largest difference from the papers' loop."""
    default = choose_way(network, cases[0].image.shape, window=(WINDOW,) * 3, precision="float32", device="cpu").way
    ways: dict[str, Way] = {
        LOOP: PAPERS["coactseg"],
        "windows of 80³, overlap .5": Windows((WINDOW,)),
        "windows of 80³, overlap .25": Windows((WINDOW,), overlap=0.25),
        "two large windows along each axis": Windows(tuple(-(-side // 32) * 16 + 16 for side in cases[0].shape), 0.25),
        "the whole volume at once": Whole(),
        f"{DEFAULT} ({default})": default,
    }
    table = Table("way", *[case.name for case in cases], "mean", "largest difference", title="Dice, float32")
    first: list[float] = []
    for name, way in ways.items():
        found = [dice_of(network, case, way, "float32") for case in cases]
        first = first or found
        most = max(abs(a - b) for a, b in zip(found, first, strict=True))
        table.add_row(name, *[f"{value:.4f}" for value in found], f"{np.mean(found):.4f}", f"{most:.4f}")
    console.print(table)


def precision_table(network: nn.Module, cases: list[PreparedCase]) -> None:
    parts = [around_largest(case) for case in cases]
    table = Table("precision", *[case.name for case in parts], "mean", title=f"Dice on {AROUND}³ voxels, whole")
    for precision in ("float32", "bf16"):
        found = [dice_of(network, case, Whole(), precision) for case in parts]
        table.add_row(precision, *[f"{value:.4f}" for value in found], f"{np.mean(found):.4f}")
    console.print(table)
    if not cpu_has_fast_bf16():
        console.print("bf16 is emulated by this processor; its roundings are those of a real one.")


def main(
    network: Annotated[str, typer.Option(help="The network that is timed.")] = "longitudinal_vnet",
    shape: Annotated[str, typer.Option(help="Voxels of the volume that is timed.")] = "182x218x182",
    sample: Annotated[int, typer.Option(help="Windows that are computed, the others counted; 0: all.")] = 8,
    memory: Annotated[float, typer.Option(help="GiB that lesionloss may plan with; 0: what is free.")] = 0.0,
    only: Annotated[str, typer.Option(help="speed, accuracy or bf16; all without.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Where patients and the trained network are kept.")] = None,
    train_network: Annotated[str, typer.Option(help="The network that is trained.")] = "longitudinal_vnet(filters=8)",
    train_steps: Annotated[int, typer.Option(help="Steps of its training.")] = 300,
    patients: Annotated[int, typer.Option(help="Built-in patients; the last third is not seen in training.")] = 9,
    spacing: Annotated[float, typer.Option(help="Their voxels in mm; 1 makes 182 x 218 x 182 of them.")] = 1.0,
    job: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if job:
        asked = json.loads(job)
        print(json.dumps(measure(Job(**{**asked, "shape": tuple(asked["shape"])}))))
        return
    where = platform.processor() or platform.machine()
    console.print(f"torch {version('torch')}, {where}, {torch.get_num_threads()} threads")
    if only in ("", "speed"):
        speed_table(network, tuple(int(side) for side in shape.split("x")), sample, memory)
    if only in ("", "accuracy", "bf16"):
        place = folder or Path(tempfile.gettempdir()) / "lesionloss-inference"
        cases = cohort_of(place, patients, spacing)
        seen = len(cases) - max(1, len(cases) // 3)
        model = trained(place, train_network, cases[:seen], train_steps)
        unseen = [case for case in cases[seen:] if case.lesion.any()]
        if only != "bf16":
            accuracy_table(model, unseen)
        if only != "accuracy":
            precision_table(model, unseen)


if __name__ == "__main__":
    typer.run(main)
