"""Boundary and lesion metrics beside medpy and MONAI: seconds, equal values, peak memory.

    python benchmarks/metrics.py
    python benchmarks/metrics.py --rounds 1 --skip-medpy

Three pairs of masks of 256 x 256 x 180 voxels at 1 mm: 20 lesions, one blob of 40 mm radius, a brain. Each library
computes hd, hd95 and the average distances its own way, one after the other in each round; shown are medians.
Peak memory is that of a fresh process above what it held before, in multiples of the two masks.
"""

import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics import Case, list_metrics, score

SHAPE, SPACING = (256, 256, 180), (1.0, 1.0, 1.0)
NAMES = ["hd", "hd95", "hd95_pooled", "asd_pred_to_ref", "asd_ref_to_pred", "assd"]
LESION_NAMES = ["lesion_f1", "lesion_sensitivity", "lesion_ppv", "lesion_f1_overlap", "false_positive_lesions"]
REACH = {"20 lesions": 30, "blob": 6, "brain": 6}
MATCHING_MS, MASKS = 100, 3
GROUPS: dict[str, list[str]] = {
    "boundary": NAMES,
    "surface elements": [record.name for record in list_metrics() if "surfel" in record.name],
    "lesions": LESION_NAMES,
    "calibration": ["nll", "brier", "ece", "ace", "nll_near", "ece_near"],
}

Pair = tuple[np.ndarray, np.ndarray]


def add_ball(mask: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]) -> None:
    """An ellipsoid, drawn inside its own box."""
    box = tuple(
        slice(max(int(c - r), 0), min(int(c + r) + 2, n)) for c, r, n in zip(centre, radii, mask.shape, strict=True)
    )
    grid = np.ogrid[box]
    mask[box] |= sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1


def lesion_pair(count: int) -> Pair:
    """Balls of 2 to 7 mm, predicted a little smaller and up to 3 mm away; one in ten is missed."""
    generator = numpy_generator("benchmark lesions", count)
    pred, ref = np.zeros((2, *SHAPE), dtype=bool)
    for number in range(count):
        centre = tuple(generator.uniform(20, size - 20) for size in SHAPE)
        radius = generator.uniform(2, 7)
        add_ball(ref, centre, (radius,) * 3)
        if number % 10:
            moved = tuple(c + step for c, step in zip(centre, generator.integers(-3, 4, 3), strict=True))
            add_ball(pred, moved, (0.9 * radius,) * 3)
    return pred, ref


def blob_pair() -> Pair:
    pred, ref = np.zeros((2, *SHAPE), dtype=bool)
    add_ball(ref, (120, 120, 90), (40,) * 3)
    add_ball(pred, (127, 124, 92), (38,) * 3)
    return pred, ref


def brain_pair() -> Pair:
    pred, ref = np.zeros((2, *SHAPE), dtype=bool)
    add_ball(ref, (128, 128, 90), (80, 92, 60))
    add_ball(pred, (130, 128, 90), (80, 92, 60))
    return pred, ref


PAIRS: dict[str, Callable[[], Pair]] = {
    "20 lesions": lambda: lesion_pair(20),
    "blob": blob_pair,
    "brain": brain_pair,
    "100 lesions": lambda: lesion_pair(100),
}


def ours(pred: np.ndarray, ref: np.ndarray) -> dict[str, float]:
    return score(Case(pred, ref, spacing_mm=SPACING), NAMES)


def with_medpy(pred: np.ndarray, ref: np.ndarray) -> dict[str, float]:
    from medpy.metric import binary

    return {
        "hd": binary.hd(pred, ref, SPACING),
        "hd95_pooled": binary.hd95(pred, ref, SPACING),
        "asd_pred_to_ref": binary.asd(pred, ref, SPACING),
        "assd": binary.assd(pred, ref, SPACING),
    }


def with_monai(pred: np.ndarray, ref: np.ndarray) -> dict[str, float]:
    from monai.metrics import compute_average_surface_distance as asd
    from monai.metrics import compute_hausdorff_distance as hausdorff

    p, r = torch.from_numpy(pred)[None, None], torch.from_numpy(ref)[None, None]
    return {
        "hd": float(hausdorff(p, r, include_background=True, spacing=SPACING)),
        "hd95": float(hausdorff(p, r, include_background=True, spacing=SPACING, percentile=95)),
        "asd_pred_to_ref": float(asd(p, r, include_background=True, spacing=SPACING)),
        "assd": float(asd(p, r, include_background=True, spacing=SPACING, symmetric=True)),
    }


def timed(call: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    values = call()
    return 1e3 * (time.perf_counter() - start), values


def boundary_rows(name: str, rounds: int, libraries: dict[str, Callable[..., dict[str, float]]]) -> list[list[str]]:
    """Medians of interleaved rounds, and the largest difference from our value of the same definition."""
    pred, ref = PAIRS[name]()
    milliseconds: dict[str, list[float]] = {library: [] for library in libraries}
    values: dict[str, dict[str, float]] = {}
    for _ in range(rounds + 1):  # the first round only warms up
        for library, call in libraries.items():
            spent, values[library] = timed(partial(call, pred, ref))
            milliseconds[library].append(spent)
    mine = statistics.median(milliseconds["lesionloss"][1:])
    rows = []
    for library, rounds_of in milliseconds.items():
        middle = statistics.median(rounds_of[1:])
        off = max(abs(value - values["lesionloss"][key]) for key, value in values[library].items())
        against = f"{middle / mine:.1f}" if library != "lesionloss" else ""
        wanted = f">= {REACH[name]}" if library == "MONAI" else ""
        rows.append([name, library, f"{middle:.1f}", against, wanted, f"{off:.1e}"])
    return rows


def lesion_row(rounds: int) -> list[str]:
    pred, ref = PAIRS["100 lesions"]()
    spent = [timed(lambda: score(Case(pred, ref, spacing_mm=SPACING), LESION_NAMES))[0] for _ in range(rounds + 1)]
    return ["100 lesions", "lesionloss, matching", f"{statistics.median(spent[1:]):.1f}", "", f"< {MATCHING_MS} ms", ""]


def resident_kib(field: str) -> int:
    """VmRSS or VmHWM (its peak) of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def peak_of(name: str, group: str) -> None:
    """Prints the peak of one pair's metrics in multiples of its two masks; meant for a fresh process."""
    pred, ref = PAIRS[name]()
    probability = np.where(pred, np.float32(0.9), np.float32(0.1)) if group == "calibration" else None
    small = np.zeros((12, 12, 12), dtype=np.float32)
    small[4:7, 4:7, 4:7] = 0.9
    score(Case(small, small > 0, spacing_mm=SPACING), GROUPS[group])  # imports what is needed
    ctypes.CDLL(None).malloc_trim(0)  # what drawing the masks left behind would hide what the metrics need
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_kib("VmRSS")
    score(Case(pred, ref, spacing_mm=SPACING, probability=probability), GROUPS[group])
    typer.echo(f"{(resident_kib('VmHWM') - before) * 1024 / (pred.nbytes + ref.nbytes):.2f}")


def peak_rows() -> list[list[str]]:
    rows = []
    for name in PAIRS:
        commands = [[sys.executable, __file__, "--peak", name, "--group", group] for group in GROUPS]
        peaks = [subprocess.run(each, capture_output=True, text=True, check=True).stdout.strip() for each in commands]
        rows.append([name, *peaks, f"<= {MASKS}"])
    return rows


def main(
    rounds: Annotated[int, typer.Option(help="Rounds after the warming one.")] = 3,
    skip_medpy: Annotated[bool, typer.Option("--skip-medpy", help="medpy takes most of the time.")] = False,
    peak: Annotated[str | None, typer.Option(metavar="PAIR", help="Print the peak memory of one pair only.")] = None,
    group: Annotated[str, typer.Option(help="With --peak: of which metrics.")] = "boundary",
) -> None:
    """Boundary and lesion metrics beside medpy and MONAI."""
    if peak is not None:
        peak_of(peak, group)
        return
    console = Console()
    libraries = {"lesionloss": ours, "MONAI": with_monai}
    if not skip_medpy:
        libraries["medpy"] = with_medpy
    packages = ("numpy", "scipy", "monai", "medpy")
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    )
    console.print(", ".join(f"{package} {version(package)}" for package in packages), highlight=False)
    table = Table("pair", "library", "ms", "x ours", "wanted", "largest difference", box=None)
    for name in REACH:
        for row in boundary_rows(name, rounds, libraries):
            table.add_row(*row)
    table.add_row(*lesion_row(rounds))
    console.print(table)
    memory = Table("peak, in pairs of masks", *GROUPS, "wanted", box=None)
    for row in peak_rows():
        memory.add_row(*row)
    console.print(memory)


if __name__ == "__main__":
    typer.run(main)
