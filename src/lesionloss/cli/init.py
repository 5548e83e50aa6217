"""`lesionloss init`: a plan that fits a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import hint, say

if TYPE_CHECKING:
    from lesionloss.bench.plan import Plan
    from lesionloss.bench.starting_plan import StartingPlan

EXAMPLES = """
lesionloss init DATA/msseg2
lesionloss init lit:DATA/open_ms_data --target positive_change --hours 8 --out lit.toml
lesionloss bench lit.toml --dry-run
"""


@command(panel=panels.TRAIN, examples=EXAMPLES)
def init(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of the patients, or LAYOUT:PATH.")],
    out: Annotated[Path, typer.Option("--out", metavar="PLAN.toml", help="The plan to write.")] = Path("plan.toml"),
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="What counts as lesion; default: the layout's first target.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="Time for the whole benchmark on this machine: training steps are timed, then chosen."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a plan that exists.")] = False,
) -> None:
    """Look at a data set and write a plan that fits it, with the reason for each decision.

    Layout, target, channels and classes are those of the folder; the patch follows from voxels and lesion sizes, the
    number of training steps from --hours. At most 24 cases are read, spread over the data set.
    """
    from lesionloss.bench.starting_plan import fit_hours, plan_for, plan_text
    from lesionloss.cli.progress import track
    from lesionloss.core.devices import resolve_device
    from lesionloss.core.errors import UsageError
    from lesionloss.core.files import write_text
    from lesionloss.data.checking.facts import read_facts
    from lesionloss.data.cohort import open_cohort

    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: a plan is a file that ends in .toml")
    if out.exists() and not force:
        raise UsageError(f"{out} exists; choose another --out, or --force to overwrite it")
    if hours is not None and not 0 < hours < float("inf"):
        raise UsageError(f"--hours must be a number above 0, got {hours:g}")
    place = resolve_device(device)
    cohort = open_cohort(folder, target)
    facts = read_facts(cohort, lambda cases: track("reading", len(cases), cases))
    chosen = plan_for(facts, place)
    source = str(cohort.root.expanduser().resolve())

    def text_of(plan: "StartingPlan") -> str:
        return plan_text(plan, out.stem, source)

    if hours is not None:
        chosen = fit_hours(chosen, hours, lambda plan: _seconds(_checked(text_of(plan), out), device))
    fitted = _checked(text_of(chosen), out)
    write_text(out, text_of(chosen))
    say(
        f"{out}: {len(chosen.losses)} losses, {chosen.folds} folds, {len(chosen.seeds)} seeds, {chosen.steps} steps, "
        f"patch {'x'.join(map(str, chosen.patch))}, {fitted.network.text}"
    )
    hint(f"next: lesionloss bench {out} --dry-run; then lesionloss bench {out} --out runs/{out.stem}")


def _checked(text: str, out: Path) -> "Plan":
    """The plan of a text, checked against its data: what is written must run."""
    import tempfile

    from lesionloss.bench.data_check import check_data
    from lesionloss.bench.plan import Plan

    with tempfile.TemporaryDirectory(prefix="lesionloss-") as folder:
        path = Path(folder) / out.name
        path.write_text(text, encoding="utf-8")
        return check_data(Plan.load(path))


def _seconds(plan: "Plan", device: str) -> float:
    """Seconds of all trials, from training steps timed now."""
    from lesionloss.bench.forecast import forecast

    found = forecast(plan, None, device, None, None)
    if found.seconds is None:
        raise RuntimeError("a plan in steps has a time")
    return found.seconds
