"""`lesionloss synth`: write a synthetic longitudinal cohort."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli.app import app
from lesionloss.cli.terminal import plain_console, say

if TYPE_CHECKING:
    from lesionloss.synth import SynthSettings

_EXAMPLES = """
[bold]Examples[/bold]

  lesionloss synth cohort --patients 12 --seed 7 --preview cohort.png

  lesionloss synth fine --patients 40 --spacing 1.0 --jobs 4

  lesionloss synth like-lit --patients 40 --profile lit --spacing scanner

  lesionloss synth --print-config > synth.toml          (every range, as a start)

  lesionloss synth mine --patients 40 --config synth.toml
"""


@app.command(epilog=_EXAMPLES)
def synth(
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder of the cohort; new, empty or an interrupted one.")
    ] = None,
    patients: Annotated[int, typer.Option("--patients", "-n", help="How many patients; each has two visits.")] = 12,
    seed: Annotated[
        int, typer.Option("--seed", "-s", help="Patient k of a seed is the same for any number of patients.")
    ] = 0,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="mixed (default), lit, msseg2 or demo (easy).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE.toml", help="Ranges that replace those of the profile.")
    ] = None,
    spacing: Annotated[
        str | None, typer.Option("--spacing", metavar="MM", help="Isotropic voxel size in mm, or: scanner.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes; the patients are the same for any number.")] = 1,
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="FILE.png", help="Also draw the first patients to this file.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print every key with its meaning as TOML and stop.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another synthetic cohort in OUT, or write beside other files.")
    ] = False,
) -> None:
    """Write a synthetic cohort: FLAIR-like visits with lesions that appear, grow, shrink and vanish.

    The layout is that of MSSEG-2: OUT/training/001/ holds flair_time01_on_middle_space, flair_time02_on_middle_space,
    ground_truth and brain_mask (.nii.gz, skull-stripped), lesions_time01, lesions_time02, positive_change, change,
    lesions_KIND for every kind of lesion, and record.json with all drawn values.
    """
    from lesionloss.core.errors import UsageError
    from lesionloss.synth import as_toml

    settings = _settings(profile, config, spacing)
    if print_config:
        say(as_toml(settings), nl=False)
        return
    if out is None:
        raise UsageError("OUT is missing; name the folder of the cohort, e.g. lesionloss synth cohort")
    if preview is not None:
        if preview.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--preview is {preview}; its name must end in .png, .svg or .pdf")
        if preview.exists() and not force:
            raise UsageError(f"{preview} exists; choose another --preview, or add --force to replace it")
    _print_table(out, _written(out, patients, seed, settings, force, jobs))
    if preview is not None:
        from lesionloss.synth.preview import write_preview

        write_preview(out, patients, preview)
        say(f"picture: {preview}")


def _settings(profile: str | None, config: Path | None, spacing: str | None) -> "SynthSettings":
    from lesionloss.core.errors import UsageError
    from lesionloss.synth import load_settings, profile_settings

    changes: dict[str, Any] = {} if spacing is None else {"spacing_mm": _spacing(spacing)}
    if config is None:
        return profile_settings(profile or "mixed", changes)
    if profile is not None:
        raise UsageError(f'--config and --profile exclude each other; write profile = "{profile}" into {config}')
    return load_settings(config, changes)


def _spacing(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _written(
    out: Path, patients: int, seed: int, settings: "SynthSettings", force: bool, jobs: int
) -> list[dict[str, Any]]:
    from lesionloss.cli.progress import progress_bar
    from lesionloss.synth import write_cohort

    with progress_bar() as bar:
        task = bar.add_task("patients", total=patients, detail="")
        return write_cohort(
            out, patients, seed, settings, lambda _name, done, _all: bar.update(task, completed=done), force, jobs
        )


def _print_table(out: Path, records: list[dict[str, Any]]) -> None:
    from rich.table import Table

    kinds = ("new", "enlarging", "shrinking", "vanishing", "unchanged")
    table = Table("patient", *kinds, "new volume (mm³)", "old volume (ml)")
    for column in table.columns[1:]:
        column.justify = "right"
    for record in records:
        counts = [sum(lesion["kind"] == kind for lesion in record["lesions"]) for kind in kinds]
        new = sum(lesion["volume_mm3"] for lesion in record["lesions"] if lesion["kind"] == "new")
        old = sum(lesion["volumes_mm3"][0] for lesion in record["lesions"])
        table.add_row(f"{record['index'] + 1:03d}", *map(str, counts), f"{new:.0f}", f"{old / 1000:.1f}")
    plain_console().print(table)
    count = sum(lesion["kind"] == "new" for record in records for lesion in record["lesions"])
    stable = sum(all(lesion["kind"] != "new" for lesion in record["lesions"]) for record in records)
    say(f"{len(records)} patients, {count} new lesions, {stable} patients without one, in {out}/training")
