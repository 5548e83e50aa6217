"""How long the preparation of a case takes, and how fast patches are made.

    python benchmarks/data.py
    python benchmarks/data.py --part prepare --rounds 5

`prepare`: a pair of 182 x 218 x 182 voxels at 1 mm, int16 in .nii.gz with brain mask and reference, from the files to
the written case, on one core. The table shows medians of CPU seconds and of wall-clock seconds.
`patches`: how much faster they are made than training steps use them (some minutes).
"""

import os

# One core: set before NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from lesionloss.core.randomness import numpy_generator
from lesionloss.data.cohort import open_cohort
from lesionloss.data.nifti import write_volume
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe, make_recipe
from lesionloss.data.prepared import load_prepared

SHAPE = (182, 218, 182)
LESIONS = 20
GOAL_S = 3.0
SPACING_MM = [0.5, 0.75, 0.75]


def write_pair(folder: Path) -> None:
    """Write one patient in the MSSEG-2 layout: a textured ellipsoid in dim noise, lesions of 2 to 5 voxels' radius."""
    rng = numpy_generator("benchmark of the data layer", "pair")
    axes = np.ogrid[tuple(slice(-1, 1, length * 1j) for length in SHAPE)]
    brain = np.asarray(sum((axis / 0.78) ** 2 for axis in axes) <= 1)
    reference = np.zeros(SHAPE, dtype=bool)
    for _ in range(LESIONS):
        centre, radius = rng.uniform(60, 120, 3), rng.uniform(2, 5)
        grid = np.ogrid[tuple(slice(0, length) for length in SHAPE)]
        reference |= sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    texture = 300 + 60 * np.sin(9 * axes[0]) * np.cos(7 * axes[1]) * np.sin(8 * axes[2])
    for number, extra in ((1, 0), (2, 150)):
        image = np.where(brain, texture + rng.normal(0, 20, SHAPE) + extra * reference, rng.uniform(0, 12, SHAPE))
        write_volume(folder / f"flair_time0{number}_on_middle_space.nii.gz", image.astype(np.int16), np.eye(4))
    write_volume(folder / "ground_truth.nii.gz", reference, np.eye(4))
    write_volume(folder / "brain_mask.nii.gz", brain, np.eye(4))


def timed(task: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the medians of the processor's and the clock's seconds."""
    cpu, clock = [], []
    for _ in range(rounds):
        began = time.process_time(), time.perf_counter()
        task()
        cpu.append(time.process_time() - began[0])
        clock.append(time.perf_counter() - began[1])
    return statistics.median(cpu), statistics.median(clock)


def part_prepare(rounds: int, console: Console) -> None:
    """Time a case from files to prepared, with and without resampling and brain mask, and reading it again."""
    recipes = {
        "brain mask given": PreparationRecipe(),
        "and resampled to 0.5 x 0.75 x 0.75 mm": make_recipe(
            {"steps": ["brain", "resample", "crop", "normalise", "subtract"], "resample": {"spacing_mm": SPACING_MM}},
            "benchmark",
        ),
        "brain mask by threshold": make_recipe({"brain": {"source": "builtin"}}, "benchmark"),
    }
    table = Table("prepare 182 x 218 x 182, two visits", "CPU s", "clock s", "MB", "read again s", f"goal {GOAL_S:g} s")
    with tempfile.TemporaryDirectory() as place:
        write_pair(Path(place) / "raw" / "training" / "001")
        cohort = open_cohort(f"msseg2:{place}/raw")
        for title, recipe in recipes.items():
            folder = Path(place) / "out"

            def make(recipe: PreparationRecipe = recipe, folder: Path = folder) -> None:
                for path in folder.glob("*"):
                    path.unlink()
                prepare_cohort(cohort, folder, recipe)

            cpu, clock = timed(make, rounds)
            case = folder / "001.npz"
            read, _ = timed(partial(load_prepared, case), rounds)
            size = case.stat().st_size / 1e6
            table.add_row(
                title, f"{cpu:.2f}", f"{clock:.2f}", f"{size:.1f}", f"{read:.3f}", "met" if cpu < GOAL_S else "no"
            )
    console.print(table)


def part_patches(rounds: int, console: Console) -> None:
    """Run data_patches.py, in a process that may use all cores."""
    console.print("patches:")
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    script = Path(__file__).with_name("data_patches.py")
    subprocess.run([sys.executable, str(script), "--steps", str(rounds)], check=True, env=environment)


PARTS: dict[str, Callable[[int, Console], None]] = {"prepare": part_prepare, "patches": part_patches}


def main(
    part: Annotated[str, typer.Option(help=f"One of {', '.join(PARTS)}, or all.")] = "all",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median is shown.")] = 3,
) -> None:
    """Time the preparation of a case and the making of patches."""
    console = Console(width=140)
    console.print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one core")
    for name, run in PARTS.items():
        if part in ("all", name):
            run(rounds, console)


if __name__ == "__main__":
    typer.run(main)
