"""How long a synthetic patient takes: a pair of visits with all maps, in memory and as files.

    python benchmarks/synth.py
    python benchmarks/synth.py --patients 8 --profile lit --workers 2

Goals: on two cores one pair of 2 mm per second, or one pair of 1 mm per five seconds and core. In memory: median
seconds of one thread over the patients, without the first, which reads the atlas. As files: pairs per second of
`lesionloss synth` with that many workers, its start included.
"""

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lesionloss.synth import SynthSettings, profile_settings, synthesise
from lesionloss.synth.write_cohort import write_cohort

SPACINGS = (2.0, 1.0)


def in_memory(settings: SynthSettings, patients: int) -> float:
    """Measure the median CPU seconds for one patient."""
    taken = []
    for index in range(patients + 1):
        begun = time.process_time()
        synthesise(1, index, settings)
        taken.append(time.process_time() - begun)
    return statistics.median(taken[1:])


def as_files(settings: SynthSettings, patients: int, workers: int) -> float:
    """Measure the wall-clock seconds for a cohort."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        write_cohort(Path(folder) / "cohort", patients, 1, settings, lambda name, done, total: None, jobs=workers)
        return time.perf_counter() - begun


def main(
    patients: Annotated[int, typer.Option(help="Patients of each measurement.")] = 6,
    profile: Annotated[list[str] | None, typer.Option(help="Profiles; may be repeated.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that write files.")] = os.cpu_count() or 1,
) -> None:
    """Time how long synthetic patients take."""
    files = f"pairs per second as files, {workers} workers"
    table = Table("profile", "spacing mm", "core-seconds per pair in memory", files)
    for name in profile or ["demo", "mixed", "lit"]:
        for spacing_mm in SPACINGS:
            settings = profile_settings(name, {"spacing_mm": spacing_mm})
            seconds = in_memory(settings, patients)
            rate = patients / as_files(settings, patients, workers)
            table.add_row(name, f"{spacing_mm:g}", f"{seconds:.2f}", f"{rate:.2f}")
    console = Console()
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {patients} patients each")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
