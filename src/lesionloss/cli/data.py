"""`lesionloss data`: what a folder of images holds, and what is wrong with it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from lesionloss.cli.app import app
from lesionloss.cli.terminal import plain_console, say

# A pipe has no width of its own; no table should be folded for one.
PIPED_WIDTH = 200

if TYPE_CHECKING:
    from rich.table import Table

    from lesionloss.data.checking.survey import Survey


class LayoutsInHelp(TyperCommand):
    """A command whose help ends with the known layouts, read from their registry when the help is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the names of the layouts as its last line."""
        from lesionloss.data.layouts import layouts

        self.epilog = f"Layouts: {', '.join(layouts.names())}. What each looks like: lesionloss layouts NAME"
        super().format_help(ctx, formatter)


@app.command(cls=LayoutsInHelp)
def data(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of patients, or LAYOUT:PATH, e.g. lit:PATH.")],
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="What counts as lesion; default: the layout's first target.")
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Folds to check: splits_final.json of nnU-Net, or a file of folds."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Read and check every case of a data set, and list all problems; exit code 1 if there are any.

    The layout of the folder is recognised by its files. Lesions are connected voxels (corners count), mm³ is their
    volume, share is their share of all voxels; mask says whether there is a brain mask. Warnings don't change the exit
    code. Nothing is written. Examples:

        lesionloss data ~/msseg2

        lesionloss data lit:~/open_ms_data/longitudinal --target change

        lesionloss data nnUNet_raw/Dataset001_MS --splits splits_final.json

        lesionloss data cohort --json > cohort.json
    """
    from rich.progress import track

    from lesionloss.data.checking.check_splits import read_splits
    from lesionloss.data.checking.survey import survey
    from lesionloss.data.cohort import open_cohort

    folds = None if splits is None else (splits, read_splits(splits))
    cohort = open_cohort(path, target)
    errors = plain_console(stderr=True)
    quiet = as_json or not errors.is_terminal
    found = survey(cohort, lambda cases: track(cases, "reading", console=errors, disable=quiet), folds)
    if as_json:
        say(json.dumps(found.as_record(), indent=2))
    else:
        _show(found)
    if found.problems:
        raise typer.Exit(1)


def _show(found: "Survey") -> None:
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=PIPED_WIDTH)
    console.print(f"{found.title} ({found.layout}); target: {found.target}", highlight=False, markup=False)
    if found.cases:
        console.print(_table(found))
        for line in _sums(found.sums()):
            console.print(line, highlight=False, markup=False)
    if found.pairings:
        console.print("visits in the order of time:")
    for pairing in found.pairings:
        console.print(f"  {pairing}", highlight=False, markup=False, soft_wrap=True)
    for warning in found.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    for problem in found.problems:
        console.print(f"problem: {problem}", style="red", highlight=False, markup=False, soft_wrap=True)


SPREAD = ("mean", "sd", "median", "min", "max")
SUMS = (
    ("lesions per case", "lesions_per_case", 1.0, ""),
    ("lesion size", "lesion_size_mm3", 1.0, " mm³"),
    ("lesion volume per case", "lesion_mm3_per_case", 1.0, " mm³"),
    ("lesion share of image", "lesion_share_of_image", 100.0, " %"),
    ("lesion share of brain", "lesion_share_of_brain", 100.0, " %"),
)


def _sums(sums: dict[str, Any]) -> list[str]:
    """Write the figures that papers print: mean, standard deviation, median and range."""
    lines = [f"{sums['positive_cases']} of {sums['cases']} cases with lesions; mean ± SD, median [range]:"]
    for title, key, factor, unit in SUMS:
        found = sums[key]
        if found is not None:
            mean, sd, median, low, high = (
                f"{found[name] * factor:.4g}" for name in ("mean", "sd", "median", "min", "max")
            )
            lines.append(f"  {title + unit:28s} {mean} ± {sd}, {median} [{low}, {high}]")
    return lines


def _table(found: "Survey") -> "Table":
    from rich.table import Table

    table = Table(
        show_footer=True, box=None, collapse_padding=True, pad_edge=False, header_style="bold", footer_style="bold"
    )
    table.add_column("case", footer="sum", overflow="fold")
    table.add_column("patient", footer=str(found.patients), overflow="fold")
    right = (
        ("visits", str(sum(case.visits for case in found.cases))),
        ("shape", ""),
        ("spacing mm", ""),
        ("lesions", str(sum(case.lesions for case in found.cases))),
        ("mm³", f"{sum(case.lesion_mm3 for case in found.cases):.0f}"),
        ("share", f"{found.lesion_share:.3%}"),
        ("mask", ""),
    )
    for heading, footer in right:
        table.add_column(heading, footer=footer, justify="right", no_wrap=True)
    for case in found.cases:
        table.add_row(
            case.name,
            case.patient,
            str(case.visits),
            "x".join(map(str, case.shape)),
            "x".join(f"{edge:.2f}" for edge in case.spacing_mm),
            str(case.lesions),
            f"{case.lesion_mm3:.0f}",
            f"{case.lesion_share:.3%}",
            "yes" if case.brain_mask else "no",
        )
    return table
