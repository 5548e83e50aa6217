"""`lesionloss bench --dry-run`: what a plan will need, printed as it becomes known."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lesionloss.cli.terminal import plain_console, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lesionloss.bench.forecast_record import Forecast
    from lesionloss.bench.plan import Plan


def show_forecast(
    plan: "Plan",
    out: Path | None,
    device: str,
    jobs: int | None,
    threads: int | None,
    together: int | None,
    as_json: bool,
    *,
    extend: bool,
) -> None:
    """Check a plan against its data; print its forecast, or that of each run for several data sets or networks."""
    from lesionloss.bench.data_check import check_data
    from lesionloss.bench.forecast import forecast
    from lesionloss.cli.bench_tables import forecast_json, one_or_named, print_time
    from lesionloss.cli.progress import progress_bar
    from lesionloss.runs.results import RUNS

    parts = {name: check_data(part) for name, part in plan.runs().items()}
    documents: dict[str, str] = {}
    for name, part in parts.items():
        folder = out / RUNS / name if out is not None and name else out
        if name and not as_json:
            say(f"{name}:")

        bar = progress_bar()
        timed = partial(_show_timed, bar, bar.add_task("timing training steps", total=None, detail=""))
        known = partial(_show_known, bar, as_json)
        try:
            found = forecast(
                part, folder, device, jobs, threads, together=together, extend=extend, known=known, timed=timed
            )
        finally:
            bar.stop()
        if as_json:
            documents[name] = forecast_json(found)
        else:
            print_time(found, plain_console())
            if sentence := _verdicts_of(part):
                say(sentence)
    if as_json:
        say(one_or_named(documents))


def _verdicts_of(plan: "Plan") -> str:
    """What the plan's design can show; empty where the number of patients is not known yet."""
    from lesionloss.bench.plan.sections import BUILT_IN_SOURCES
    from lesionloss.report.power_wording import design_sentence
    from lesionloss.statistics import StudyDesign

    built_in = plan.data.source in BUILT_IN_SOURCES
    patients = len(plan.data.patients) or (plan.data.synth_patients if built_in else 0)
    return design_sentence(StudyDesign(patients, plan.folds, len(plan.seeds), plan.repeats), len(plan.losses))


def _show_known(bar: "Progress", as_json: bool, found: "Forecast") -> None:
    from lesionloss.cli.bench_tables import print_known

    if not as_json:
        print_known(found, plain_console())
    bar.start()  # below what was printed


def _show_timed(bar: "Progress", task: "TaskID", done: int, steps: int) -> None:
    bar.update(task, completed=done, total=steps)
