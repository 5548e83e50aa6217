"""`lesionloss bench`: run a plan, and see what it is doing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli.app import app

if TYPE_CHECKING:
    from lesionloss.bench.plan import Plan

EXAMPLES = """
Examples:

  lesionloss bench quickstart --out runs/quick          (synthetic patients, nothing needed)

  lesionloss bench lit-smoke --data DATA/lit --out runs/lit

  lesionloss --with my_losses.py bench quickstart --loss root_tversky --out runs/mine

  lesionloss bench my_plan.toml --out runs/mine         (again: goes on where it stopped)

  lesionloss bench quickstart --print > my_plan.toml    (a plan to start from)
"""


@app.command(epilog=EXAMPLES)
def bench(
    plan: Annotated[str, typer.Argument(metavar="PLAN|PRESET", help="A TOML plan, or the name of a preset.")],
    out: Annotated[Path | None, typer.Option("--out", help="The run's folder; one that exists is continued.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the patients, if the plan names none.")] = None,
    losses: Annotated[
        list[str] | None, typer.Option("--loss", metavar="SPEC", help="Add a loss to the plan; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda:N.")] = "auto",
    show: Annotated[bool, typer.Option("--print", help="Print the whole plan as TOML and stop.")] = False,
) -> None:
    """Train the same network with every loss of a plan, on the same batches, and score whole images."""
    from lesionloss.cli.watch import TerminalWatcher
    from lesionloss.errors import UsageError

    chosen = chosen_plan(plan, data, losses or [])
    if show:
        typer.echo(chosen.to_toml(), nl=False)
        return
    if out is None:
        raise UsageError("bench needs a folder for its results: --out FOLDER")
    from lesionloss.bench.run import run
    from lesionloss.bench.storing import runs_of
    from lesionloss.training.device import resolve_device

    failed = 0
    for part, folder in runs_of(chosen, out):
        with TerminalWatcher(chosen.name) as watcher:
            results = run(part, folder, device=resolve_device(device), watcher=watcher)
        failed += len(results.failed)
        typer.echo(f"{folder}: {len(results.trials)} trials finished, {len(results.failed)} failed")
        typer.echo(f"next: lesionloss compare {folder} --metric {chosen.primary_metric}; lesionloss report {folder}")
    if failed:
        raise typer.Exit(1)


def chosen_plan(name: str, data: Path | None, losses: list[str]) -> "Plan":
    """The plan file or preset with what the command line adds to it."""
    from lesionloss.bench.plan import Plan

    plan = Plan.load(name) if name.endswith(".toml") or Path(name).is_file() else Plan.preset(name)
    changes: dict[str, object] = {}
    if data is not None:
        changes["data"] = plan.data.model_dump() | {"source": str(data.resolve())}
    if losses:
        changes["losses"] = (*plan.losses, *losses)
    return plan.changed(changes) if changes else plan
