"""Losses of a pair side by side in one process, against one after another: trials an hour and seconds of the processor.

The same trials are trained and scored three times in folders of their own, whose patients are prepared already: one
after another (`--together 1`), side by side (all losses of a pair), and in as many processes at a time as there are
cores, one loss each (`--jobs`). Each process has one thread. Variants take turns, `--rounds` times; medians are
shown. Where other work shares the machine, compare the seconds of the processor, which all processes of a run took
together. With `--steps` recipes are shortened, which makes the share of scoring larger than in a whole run.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lesionloss.bench.one_trial.trial_files import processor_name
from lesionloss.bench.plan import Plan

VARIANTS = {"one after another": ("1", "1"), "side by side": ("auto", "1"), "processes": ("1", "")}
console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class RunTime:
    """Seconds of the clock and of the processor, and finished trials of networks."""

    wall: float
    cores: float
    trials: int


def plans(steps: int) -> dict[str, Plan]:
    """The plans that are measured: their losses, their networks, one seed."""
    quick, hytver = Plan.preset("quickstart"), Plan.preset("hytver-small")
    small, slices = Plan.preset("cabezas-lit-small"), Plan.preset("dscpp-drive-small")
    many = quick.changed({"losses": Plan.preset("hytver").losses, "baseline_loss": Plan.preset("hytver").baseline_loss})
    found = {"quickstart": quick, "cabezas-lit-small": small, "13 losses": many, "dscpp-drive-small": slices}
    found["hytver-small"] = hytver
    return {name: _shortened(plan, steps) for name, plan in found.items()}


def _shortened(plan: Plan, steps: int) -> Plan:
    training = plan.training.model_dump() | ({"steps": steps, "epochs": 0, "check_every": steps} if steps else {})
    curves = plan.curves.model_dump() | ({"every_epochs": 0} if steps else {})
    return plan.changed({"seeds": plan.seeds[:1], "training": training, "curves": curves})


def bench(plan: Path, out: Path, together: str, jobs: str) -> RunTime:
    """Run all trials of a plan in a folder whose patients are prepared."""
    for name in ("trials", "checkpoints"):
        shutil.rmtree(out / name, ignore_errors=True)
    words = [str(plan), "--out", str(out), "--together", together, "--jobs", jobs or str(os.cpu_count())]
    words += ["--threads", "1", "--device", "cpu"]
    start_time, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", "from lesionloss.cli import main; main()", "bench", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    wall, after = time.perf_counter() - start_time, os.times()
    cores = after.children_user + after.children_system - before.children_user - before.children_system
    return RunTime(wall, cores, len(list((out / "trials").glob("*/model.safetensors"))))


def main(
    steps: Annotated[int, typer.Option(help="Training steps of a trial; 0: those of the plan.")] = 0,
    rounds: Annotated[int, typer.Option(help="How often each variant is measured.")] = 3,
    only: Annotated[list[str] | None, typer.Option("--only", help="Names of plans; may be repeated.")] = None,
) -> None:
    console.print(f"{processor_name()}, {os.cpu_count()} cores, {steps or 'all'} steps", highlight=False)
    table = Table("plan", "trials", *(f"{name}: trials/h (processor s)" for name in VARIANTS), "gain: clock, processor")
    for name, plan in plans(steps).items():
        if only and name not in only:
            continue
        place = Path(tempfile.mkdtemp(prefix="together-"))
        path, out = place / "plan.toml", place / "run"
        path.write_text(plan.to_toml())
        bench(path, out, "auto", "1")  # makes and prepares the patients, and compiles what is compiled once
        found: dict[str, list[RunTime]] = {variant: [] for variant in VARIANTS}
        for _ in range(rounds):
            for variant, words in VARIANTS.items():
                found[variant].append(bench(path, out, *words))
        wall = {variant: statistics.median(run.wall for run in runs) for variant, runs in found.items()}
        cores = {variant: statistics.median(run.cores for run in runs) for variant, runs in found.items()}
        trials = found["side by side"][0].trials
        cells = [f"{3600 * trials / wall[variant]:.0f} ({cores[variant]:.0f})" for variant in VARIANTS]
        alone, beside, *_ = VARIANTS
        table.add_row(
            name, str(trials), *cells, f"{wall[alone] / wall[beside]:.2f}, {cores[alone] / cores[beside]:.2f}"
        )
        shutil.rmtree(place, ignore_errors=True)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
