"""Losses of a pair side by side in one process, against one after another: trials an hour and seconds of the processor.

The same trials are trained and scored in folders of their own whose patients are prepared already: one after another in
one process, side by side in one process (all losses of a pair), and one loss each in as many processes at a time as
there are cores. Each process has one thread. Variants take turns, `--rounds` times; medians are shown. The seconds of
the processor are those of the first two, which do the same work in one process; compare them where other work shares
the machine. With `--steps` recipes are shortened, which makes the share of scoring larger than in a whole run.
`--share` only times what losses share, a batch, and what each does alone, a step of its network: the most that can be
gained in training follows from both.
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

import torch
import typer
from rich.console import Console
from rich.table import Table

from lesionloss.bench.make_cohort import prepare_run_cohort
from lesionloss.bench.one_trial.trial_files import processor_name
from lesionloss.bench.plan import Plan
from lesionloss.bench.trials import fit_network, trials_of
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.data.batches.stream import BatchStream
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.training_run import TrialToTrain, start_run
from lesionloss.training.training_step import StepBatch, take_step
from lesionloss.training.trial import Trial

VARIANTS = ("one after another", "side by side", "processes")
CODE = """
import os
import sys
from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.plan import Plan
from lesionloss.bench.run import run

if __name__ == "__main__":
    engines = {
        "one after another": InProcessEngine(together=1),
        "side by side": InProcessEngine(),
        "processes": LocalEngine(os.cpu_count(), together=1),
    }
    run(Plan.load(sys.argv[1]), sys.argv[2], engine=engines[sys.argv[3]], threads=1)
"""
console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class RunTime:
    """Seconds of the clock and of the processor, and finished trials of networks."""

    wall: float
    cores: float
    trials: int


def plans(steps: int) -> dict[str, Plan]:
    """The plans that are measured, with one seed."""
    small, hytver = Plan.preset("cabezas-lit-small"), Plan.preset("hytver")
    many = small.changed({"losses": hytver.losses, "baseline_loss": hytver.baseline_loss})
    names = ("quickstart", "cabezas-lit-small", "dscpp-drive-small", "hytver-small")
    found = {name: Plan.preset(name) for name in names} | {"13 losses, small": many}
    return {name: _shortened(plan, steps) for name, plan in found.items()}


def _shortened(plan: Plan, steps: int) -> Plan:
    training = plan.training.model_dump() | ({"steps": steps, "epochs": 0, "check_every": steps} if steps else {})
    curves = plan.curves.model_dump() | ({"every_epochs": 0} if steps else {})
    return plan.changed({"seeds": plan.seeds[:1], "training": training, "curves": curves})


def bench(plan: Path, out: Path, variant: str) -> RunTime:
    """Run all trials of a plan in a folder whose patients are prepared."""
    shutil.rmtree(out / "trials", ignore_errors=True)
    script = plan.with_name("run_plan.py")  # a file, because processes that are started anew import it
    script.write_text(CODE)
    start_time, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, str(script), str(plan), str(out), variant], check=True)
    wall, after = time.perf_counter() - start_time, os.times()
    cores = after.children_user + after.children_system - before.children_user - before.children_system
    return RunTime(wall, cores, len(list((out / "trials").glob("*/model.safetensors"))))


def share_table(steps: int, only: list[str] | None) -> None:
    """Seconds of the processor for what losses share, a batch, and for what each does alone, a step of its network."""
    table = Table("plan", "batch s", "step of a network s", "gain in training: 4 losses", "13 losses")
    for name, plan in plans(steps).items():
        if only and name not in only:
            continue
        with tempfile.TemporaryDirectory(prefix="together-") as place:
            listed = prepare_run_cohort(plan, Path(place), SilentWatcher())
            cohort = listed.read([*listed.shapes])
            case = cohort.cases[0]
            plan = fit_network(plan, case.channels, case.classes, len(case.shape))
            trial = trials_of(plan, cohort, "cpu")[0]
            batch, step = _seconds_of(trial, cohort.named(trial.train), steps)
        gains = [count * (batch + step) / (batch + count * step) for count in (4, 13)]
        table.add_row(name, f"{batch:.4f}", f"{step:.4f}", *(f"{gain:.2f}" for gain in gains))
    console.print(table)


def _seconds_of(trial: Trial, cases: list[PreparedCase], steps: int) -> tuple[float, float]:
    """Mean seconds of the processor for a batch, and for a step of the network, after a step that is not counted."""
    torch.set_num_threads(1)
    run = start_run(TrialToTrain(trial), (), "cpu")
    patches = trial.recipe.batch * trial.recipe.accumulate
    sampler, augmentation = sampler_of(trial.recipe), augmentation_of(trial.recipe)
    batches = BatchStream(cases, sampler, augmentation, (trial.pair,), batch=patches)
    made, taken = [], []
    for _ in range(min(steps or 20, trial.recipe.steps)):
        start_time = time.process_time()
        batch = StepBatch(next(batches), trial, "cpu")
        batch.digest_after(run.state.batches_digest)
        middle = time.process_time()
        take_step(run, batch)
        made.append(middle - start_time)
        taken.append(time.process_time() - middle)
    return statistics.mean(made[1:]), statistics.mean(taken[1:])


def main(
    steps: Annotated[int, typer.Option(help="Training steps of a trial; 0: those of the plan.")] = 0,
    rounds: Annotated[int, typer.Option(help="How often each variant is measured.")] = 3,
    only: Annotated[list[str] | None, typer.Option("--only", help="Names of plans; may be repeated.")] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Only time batches and steps: what there is to share.")
    ] = False,
) -> None:
    console.print(f"{processor_name()}, {os.cpu_count()} cores, {steps or 'all'} steps", highlight=False)
    if share:
        share_table(steps, only)
        return
    table = Table("plan", "trials", *(f"{name}, trials/h" for name in VARIANTS), "gain, clock", "gain, processor")
    for name, plan in plans(steps).items():
        if only and name not in only:
            continue
        place = Path(tempfile.mkdtemp(prefix="together-"))
        path, out = place / "plan.toml", place / "run"
        path.write_text(plan.to_toml())
        bench(path, out, "side by side")  # makes and prepares the patients, and compiles what is compiled once
        found: dict[str, list[RunTime]] = {variant: [] for variant in VARIANTS}
        for _ in range(rounds):
            for variant in VARIANTS:
                found[variant].append(bench(path, out, variant))
        wall = {variant: statistics.median(run.wall for run in runs) for variant, runs in found.items()}
        cores = {variant: statistics.median(run.cores for run in runs) for variant, runs in found.items()}
        trials = found["side by side"][0].trials
        cells = [f"{3600 * trials / seconds:.0f}" for seconds in wall.values()]
        alone, beside, _ = VARIANTS
        gains = (f"{wall[alone] / wall[beside]:.2f}", f"{cores[alone] / cores[beside]:.2f}")
        table.add_row(name, str(trials), *cells, *gains)
        console.print(f"{name}: {cores[alone]:.0f} and {cores[beside]:.0f} s of the processor", highlight=False)
        shutil.rmtree(place, ignore_errors=True)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
