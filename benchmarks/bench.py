"""The overhead of `lesionloss bench` beside training and scoring, and the gain of several trials at once.

    python benchmarks/bench.py                   # all, on the quickstart's patients and network; about 6 minutes
    python benchmarks/bench.py --steps 120       # with the steps of the quickstart
    python benchmarks/bench.py --only overhead

Overhead: the local engine runs a plan, one trial at a time. The overhead is the time beyond the seconds that its trials
record as training and scoring. A run of one loss and a run of all losses give the overhead of a run (imports, the start
of the process that forks trials) and of each trial; both are compared with a plan of ten minutes.
Side by side: the same plan with one trial at a time on all cores, and with as many trials as there are cores on one
thread each, alternately, `--rounds` times. Where other work shares the machine, compare the core-seconds: the time that
a run uses on all cores together.
Data: bytes on disk of the prepared patients, and the peak memory of the processes: the largest one (RSS), and the sum
of what each does not share (USS).
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lesionloss.bench.one_trial.trial_files import processor_name
from lesionloss.bench.plan import Plan
from lesionloss.core.errors import LesionLossError
from lesionloss.runs.run_files import read_json
from lesionloss.training.execution import GIB

TEN_MINUTES = 600.0
console = Console(width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True)
class RunTime:
    """Wall seconds and core-seconds of `lesionloss bench` with all its processes, seconds that the machine.json of its
    trials record, and the number of trials."""

    wall: float
    cores: float
    work: float
    trials: int


@dataclass
class Memory:
    """The peak memory of the processes under this one: the sum of their unshared memory, and the largest process."""

    own_bytes: int = 0
    largest_bytes: int = 0
    processes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, parent: int) -> None:
        """Measure twice a second until `stop`."""
        while not self._stop.wait(0.5):
            found = [memory_of(pid) for pid in descendants(parent)]
            own = sum(each[1] for each in found)
            if own > self.own_bytes:
                self.own_bytes, self.processes = own, len(found)
            self.largest_bytes = max([self.largest_bytes, *(each[0] for each in found)])

    def stop(self) -> None:
        self._stop.set()


def descendants(parent: int) -> list[int]:
    """Process numbers of everything that a process has started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
    found, fresh = [parent], [parent]
    while fresh:
        fresh = [pid for pid, its in parents.items() if its in fresh]
        found += fresh
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes of a process: all, and those that it does not share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


def bench(plan: Path, out: Path, jobs: int, threads: int) -> tuple[RunTime, Memory]:
    """Run the trials of a plan in a folder whose patients are prepared."""
    shutil.rmtree(out / "trials", ignore_errors=True)
    (out / "trial_list.json").unlink(missing_ok=True)
    words = [str(plan), "--out", str(out), "--jobs", str(jobs), "--threads", str(threads), "--device", "cpu"]
    start_time, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [sys.executable, "-c", "from lesionloss.cli import main; main()", "bench", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    memory = Memory()
    watcher = threading.Thread(target=memory.watch, args=(process.pid,))
    watcher.start()
    code = process.wait()
    memory.stop()
    watcher.join()
    wall, after = time.perf_counter() - start_time, os.times()
    if code:
        raise SystemExit(f"bench ended with {code}; see {out}")
    cores = after.children_user + after.children_system - before.children_user - before.children_system
    records = [read_json(path)["seconds"]["total"] for path in (out / "trials").glob("*/machine.json")]
    return RunTime(wall, cores, sum(records), len(records)), memory


def overhead_table(plan: Path, out: Path, rounds: int) -> None:
    """What a run costs beside the seconds that its trials count themselves: once, and for each trial."""
    table = Table("run", "trials", "wall s", "steps and metrics s", "overhead s", "share", title="Overhead")
    start_time = time.perf_counter()
    whole = Plan.load(plan)
    few = plan.with_name("few.toml")
    few.write_text(whole.changed({"losses": [whole.baseline_loss]}).to_toml(), encoding="utf-8")
    runs = {"one loss": (few, out.with_name(f"{out.name}-few")), "all trials": (plan, out)}
    found: dict[str, list[RunTime]] = {name: [] for name in runs}
    bench(*runs["one loss"], 1, os.cpu_count() or 1)  # makes and prepares the patients there, too
    for _ in range(rounds):
        for name, (which, folder) in runs.items():
            ran = bench(which, folder, 1, os.cpu_count() or 1)[0]
            over = ran.wall - ran.work
            table.add_row(
                name, str(ran.trials), *(f"{v:.1f}" for v in (ran.wall, ran.work, over)), f"{over / ran.wall:.1%}"
            )
            found[name].append(ran)
    console.print(table)
    (one, least), (all_of_them, most) = (
        (ran_often[0].trials, statistics.median(ran.wall - ran.work for ran in ran_often))
        for ran_often in found.values()
    )
    each = max(0.0, most - least) / (all_of_them - one)
    start = least - each * one
    mean = statistics.median(ran.work for ran in found["all trials"]) / all_of_them
    count = TEN_MINUTES / mean
    console.print(
        f"start and end of a run {start:.1f} s, each trial {each:.2f} s more; a plan of ten minutes of such trials "
        f"({count:.0f} of {mean:.0f} s): {start + each * count:.1f} s, {(start + each * count) / TEN_MINUTES:.1%}; "
        f"measured in {time.perf_counter() - start_time:.0f} s",
        highlight=False,
    )


def throughput_table(plan: Path, out: Path, rounds: int, networks: list[str]) -> None:
    """One trial at a time on all cores against as many as there are cores on one thread each."""
    count = os.cpu_count() or 1
    table = Table("network", "one at a time s", f"{count} side by side s", "gain", "core-seconds", title="Side by side")
    for network in networks:
        record = Plan.load(plan)
        record = record.changed({"network": record.network.model_dump() | {"text": network}})
        at = out.with_name(f"{out.name}-{networks.index(network)}")
        shutil.copytree(out / "cohort", at / "cohort")
        shutil.copytree(out / "synthetic", at / "synthetic")
        (at / "plan.toml").write_text(record.to_toml())
        path = at.with_suffix(".toml")
        path.write_text(record.to_toml())
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(bench(path, at, 1, count)[0])
            beside.append(bench(path, at, count, 1)[0])
        gains = [one.wall / two.wall for one, two in zip(alone, beside, strict=True)]
        walls = [statistics.median(ran.wall for ran in each) for each in (alone, beside)]
        cores = [statistics.median(ran.cores for ran in each) for each in (alone, beside)]
        table.add_row(
            network,
            *(f"{wall:.0f}" for wall in walls),
            f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})",
            f"{cores[0]:.0f} / {cores[1]:.0f}",
        )
    console.print(table)


def data_table(plan: Path, out: Path) -> None:
    """The prepared patients: once on disk, and what processes add in memory."""
    table = Table("trials at a time", "processes", "largest whole GiB", "own of all GiB", title="Memory")
    for jobs in (1, 2):
        _, memory = bench(plan, out, jobs, 1)
        sizes = (f"{memory.largest_bytes / GIB:.2f}", f"{memory.own_bytes / GIB:.2f}")
        table.add_row(str(jobs), str(memory.processes), *sizes)
    console.print(table)
    cohort = sum(path.stat().st_size for path in (out / "cohort").glob("*.npz"))
    trials = [path for path in (out / "trials").rglob("*") if path.is_file()]
    copies = sum(path.stat().st_size for path in trials)
    console.print(
        f"on disk: prepared patients {cohort / 1e6:.1f} MB, once; folders of {len(list((out / 'trials').iterdir()))} "
        f"trials {copies / 1e6:.1f} MB, none of it prepared patients",
        highlight=False,
    )


def main(
    steps: Annotated[int, typer.Option(help="Training steps of a trial.")] = 60,
    patients: Annotated[int, typer.Option(help="Synthetic patients.")] = 6,
    rounds: Annotated[int, typer.Option(help="How often each variant is measured.")] = 2,
    networks: Annotated[list[str] | None, typer.Option("--network", help="For side by side; may be repeated.")] = None,
    only: Annotated[str, typer.Option(help="overhead, side or data; all without.")] = "",
) -> None:
    place = Path(tempfile.mkdtemp(prefix="bench-"))
    base = Plan.preset("quickstart")
    plan = base.changed(
        {
            "losses": base.losses[:2],
            "baseline_loss": base.losses[0],
            "seeds": (1,),
            "training": base.training.model_dump() | {"steps": steps},
            "data": base.data.model_dump() | {"synth_patients": patients},
        }
    )
    path, out = place / "plan.toml", place / "run"
    path.write_text(plan.to_toml())
    console.print(f"{processor_name()}, {os.cpu_count()} cores, {plan.network.text}, {steps} steps", highlight=False)
    try:
        bench(path, out, 1, os.cpu_count() or 1)  # makes and prepares the patients
        if only in ("", "overhead"):
            overhead_table(path, out, rounds)
        if only in ("", "side"):
            throughput_table(path, out, rounds, networks or [plan.network.text])
        if only in ("", "data"):
            data_table(path, out)
    except LesionLossError as error:
        raise SystemExit(str(error)) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
