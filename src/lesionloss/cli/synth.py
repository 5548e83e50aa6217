"""`lesionloss synth`: write a synthetic longitudinal cohort."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionloss.cli.app import app

_EXAMPLES = """
[bold]Examples[/bold]

  lesionloss synth cohort --patients 12 --seed 7

  lesionloss synth cohort --patients 12 --seed 7 --preview cohort.png

  lesionloss synth fine --patients 2 --spacing 1.0
"""


@app.command(epilog=_EXAMPLES)
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the cohort; new, empty or an interrupted one.")],
    patients: Annotated[int, typer.Option("--patients", "-n", help="How many patients; each has two visits.")] = 12,
    seed: Annotated[
        int, typer.Option("--seed", "-s", help="Patient k of a seed is always the same, whatever their number.")
    ] = 0,
    spacing: Annotated[float, typer.Option("--spacing", help="Voxel size in mm, the same in all directions.")] = 2.0,
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="FILE.png", help="Also draw the first patients to this file.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another synthetic cohort in OUT, or write beside other files.")
    ] = False,
) -> None:
    """Write a synthetic cohort: FLAIR-like visits with new lesions, in the MSSEG-2 folder layout.

    OUT/training/001/ holds flair_time01_on_middle_space, flair_time02_on_middle_space, ground_truth and brain_mask
    (.nii.gz, skull-stripped) and record.json with every lesion's kind, place and volume.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lesionloss.errors import UsageError
    from lesionloss.synth import SynthSettings, write_cohort

    if preview is not None:
        if preview.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--preview is {preview}; its name must end in .png, .svg or .pdf")
        if preview.exists() and not force:
            raise UsageError(f"{preview} exists; choose another --preview, or add --force to replace it")
    settings = SynthSettings(spacing_mm=spacing)
    columns = (TextColumn("patients"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("patients", total=patients)
        records = write_cohort(
            out, patients, seed, settings, lambda _name, done, _all: bar.update(task, completed=done), force=force
        )
    _print_table(out, records)
    if preview is not None:
        from lesionloss.synth.preview import write_preview

        write_preview(out, patients, preview)
        typer.echo(f"picture: {preview}")


def _print_table(out: Path, records: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("patient", "new lesions", "new volume (mm³)", "old lesions", "old volume (ml)")
    for column in table.columns[1:]:
        column.justify = "right"
    for record in records:
        new, old = ([x["volume_mm3"] for x in record["lesions"] if x["kind"] == kind] for kind in ("new", "old"))
        cells = (len(new), f"{sum(new):.0f}", len(old), f"{sum(old) / 1000:.1f}")
        table.add_row(f"{record['index'] + 1:03d}", *map(str, cells))
    Console().print(table)
    count = sum(lesion["kind"] == "new" for record in records for lesion in record["lesions"])
    stable = sum(all(lesion["kind"] != "new" for lesion in record["lesions"]) for record in records)
    typer.echo(f"{len(records)} patients, {count} new lesions, {stable} patients without one, in {out}/training")
