"""Prediction: time and memory of each inference mode for a whole brain, and whether all find the same lesions.

    python benchmarks/inference.py
    python benchmarks/inference.py --only speed --network "longitudinal_vnet(filters=8)" --sample 8
    python benchmarks/inference.py --only accuracy --folder models/inference
    python benchmarks/inference.py --only accuracy --train-steps 60 --patients 4 --spacing 2

First table: a volume of 182 x 218 x 182 through a network with random weights, each mode in a process of its own, in
float32: the papers' loop (windows of 80 voxels, 20 apart, one at a time), MONAI's sliding window as it is usually
called, and what lesionloss does: whole, and as it chooses by default. With --sample, some windows are computed and
their time multiplied by the number of all; adding up is done for all.
Cores x seconds is the time of all cores, which other work on the machine hardly changes; GiB is the highest memory
of the process beyond what it held before.

Second table: a network trained on the built-in patients (kept in --folder, so that a second run only predicts) applied
to patients it has not seen: Dice by each mode. Third: the same in bf16, on the surroundings of each patient's lesions,
since a processor without bf16 of its own takes minutes for more.
"""

import platform
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from inference_speed import CHANNELS, DEFAULT, LOOP, WINDOW, speed_table
from rich.console import Console
from rich.table import Table
from torch import nn

from lesionloss.data.cohort import open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.prepared import PreparedCase, load_prepared
from lesionloss.inference import (
    PAPERS,
    Arithmetic,
    InferenceMode,
    SlidingWindow,
    WholeImage,
    choose_inference_mode,
    predict_probabilities,
)
from lesionloss.metrics import Case, is_lesion, score
from lesionloss.networks.bundle import BundleRecord, load_bundle, save_bundle
from lesionloss.synth import profile_settings
from lesionloss.synth.write_cohort import write_cohort
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.loop import Step, train
from lesionloss.training.precision import cpu_has_fast_bf16
from lesionloss.training.trial import TrainingRecipe, Trial

AROUND = 64  # voxels along each side of what bf16 is tried on
console = Console(width=None if sys.stdout.isatty() else 140)


def cohort_of(folder: Path, patients: int, spacing_mm: float) -> list[PreparedCase]:
    """Built-in patients of the easy profile, made and prepared once."""
    settings = profile_settings("demo", {"spacing_mm": spacing_mm})
    write_cohort(
        folder / "patients", patients, 7, settings, lambda name, done, total: report_progress("patient", done, total)
    )
    index = prepare_cohort(open_cohort(f"msseg2:{folder / 'patients'}"), folder / "prepared").index
    return [load_prepared(folder / "prepared" / f"{entry.name}.npz") for entry in index.cases]


def report_progress(what: str, done: int, total: int) -> None:
    print(f"\r{what} {done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def trained(folder: Path, network: str, cases: list[PreparedCase], steps: int) -> nn.Module:
    """The network of an earlier run, or one that is trained now and kept."""
    place = folder / "model"
    if (place / "model.json").is_file():
        return load_bundle(place).network
    sides = (32, 32, 32)
    recipe = TrainingRecipe(
        steps=steps,
        batch=4,
        patch=sides,
        jitter=10,
        foreground_share=0.75,
        learning_rate=4e-3,
        poly_power=0.9,
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
        report_progress(f"loss {step.loss:.3f}, step", step.step, steps)

    saving = Checkpoints(folder / "checkpoint", every_seconds=60)
    found = train(trial, cases, after_step=after, checkpoints=saving).network
    save_bundle(place, found, BundleRecord(network=network, channels=CHANNELS, window=sides))
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


def dice_of(network: nn.Module, case: PreparedCase, mode: InferenceMode, precision: str) -> float:
    found = is_lesion(predict_probabilities(network, case, mode, arithmetic=Arithmetic(precision))[0], 0.5)
    return score(Case(found, case.lesion, spacing_mm=case.spacing_mm), ["dice"])["dice"]


def accuracy_table(network: nn.Module, cases: list[PreparedCase]) -> None:
    """Dice of each unseen patient by each mode, and the largest difference from the papers' loop."""
    default = choose_inference_mode(
        network, cases[0].image.shape, own=SlidingWindow((WINDOW,) * 3, overlap=0.25), precision="float32", device="cpu"
    ).mode
    modes: dict[str, InferenceMode] = {
        LOOP: PAPERS["coactseg"],
        "sliding window of 80³, overlap .5": SlidingWindow((WINDOW,)),
        "sliding window of 80³, overlap .25": SlidingWindow((WINDOW,), overlap=0.25),
        "two large windows along each axis": SlidingWindow(
            tuple(-(-side // 32) * 16 + 16 for side in cases[0].shape), 0.25
        ),
        "the whole volume at once": WholeImage(),
        f"{DEFAULT} ({default})": default,
    }
    table = Table("mode", *[case.name for case in cases], "mean", "largest difference", title="Dice, float32")
    first: list[float] = []
    for name, mode in modes.items():
        found = [dice_of(network, case, mode, "float32") for case in cases]
        first = first or found
        most = max(abs(a - b) for a, b in zip(found, first, strict=True))
        table.add_row(name, *[f"{value:.4f}" for value in found], f"{np.mean(found):.4f}", f"{most:.4f}")
    console.print(table)


def precision_table(network: nn.Module, cases: list[PreparedCase]) -> None:
    parts = [around_largest(case) for case in cases]
    table = Table("precision", *[case.name for case in parts], "mean", title=f"Dice on {AROUND}³ voxels, whole")
    for precision in ("float32", "bf16"):
        found = [dice_of(network, case, WholeImage(), precision) for case in parts]
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
) -> None:
    where = platform.processor() or platform.machine()
    console.print(f"torch {version('torch')}, {where}, {torch.get_num_threads()} threads")
    if only in ("", "speed"):
        console.print(speed_table(network, tuple(int(side) for side in shape.split("x")), sample, memory))
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
