"""`lesionloss synth`: write a synthetic longitudinal cohort."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import note, plain_console, say, say_json

if TYPE_CHECKING:
    from lesionloss.synth import SynthSettings

KINDS = ("new", "enlarging", "shrinking", "vanishing", "unchanged")
_EXAMPLES = """
lesionloss synth cohort --patients 12 --seed 7 --preview cohort.png
lesionloss synth fine --patients 40 --spacing 1.0 --jobs 4
lesionloss synth like-lit --patients 40 --profile lit --spacing scanner
lesionloss synth --print-config > synth.toml   # every range, as a start
lesionloss synth mine --patients 40 --config synth.toml
"""


@command(
    panel=panels.IMAGES,
    examples=_EXAMPLES,
    options={
        panels.LESIONS: "patients seed profile config spacing",
        panels.MACHINE: "jobs",
        panels.OUTPUT: "preview as_json force",
        panels.SHOW: "print_config",
    },
)
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
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
    records = _written(out, patients, seed, settings, force, jobs)
    if as_json:
        say_json({"folder": str(out), "patients": [_counts(record) for record in records]})
    else:
        _print_table(out, records)
    if preview is not None:
        from lesionloss.synth.preview import write_preview

        write_preview(out, patients, preview)
        note(f"picture: {preview}")


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


def _counts(record: dict[str, Any]) -> dict[str, Any]:
    """The number of lesions of a patient by kind, and their volumes in mm³."""
    lesions = record["lesions"]
    return {
        "patient": f"{record['index'] + 1:03d}",
        **{kind: sum(lesion["kind"] == kind for lesion in lesions) for kind in KINDS},
        "new_mm3": sum(lesion["volume_mm3"] for lesion in lesions if lesion["kind"] == "new"),
        "old_mm3": sum(lesion["volumes_mm3"][0] for lesion in lesions),
    }


def _print_table(out: Path, records: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("patient", *KINDS, "new volume (mm³)", "old volume (ml)")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [_counts(record) for record in records]
    for row in rows:
        volumes = (f"{row['new_mm3']:.0f}", f"{row['old_mm3'] / 1000:.1f}")
        table.add_row(row["patient"], *(str(row[kind]) for kind in KINDS), *volumes)
    plain_console().print(table)
    count, stable = sum(row["new"] for row in rows), sum(not row["new"] for row in rows)
    say(f"{len(rows)} patients, {count} new lesions, {stable} patients without one, in {out}/training")
