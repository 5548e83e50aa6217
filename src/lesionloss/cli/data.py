"""`lesionloss data`: what a folder of images holds, and what is wrong with it."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import CommandWithExamples, command
from lesionloss.cli.terminal import plain_console, say
from lesionloss.core.errors import ExitCode

# A pipe has no width of its own; no table should be folded for one.
PIPED_WIDTH = 200

if TYPE_CHECKING:
    from rich.table import Table

    from lesionloss.bench.batch_shares import BatchShares
    from lesionloss.data.checking.survey import Survey


EXAMPLES = """
lesionloss data ~/msseg2
lesionloss data lit:~/open_ms_data/longitudinal --target change
lesionloss data nnUNet_raw/Dataset001_MS --splits splits_final.json
lesionloss data wmh2017:~/WMH --plan cabezas-wmh
lesionloss data cohort --json > cohort.json
"""


class LayoutsInHelp(CommandWithExamples):
    """A command whose help ends with the known layouts, read from their registry when the help is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with the names of the layouts as its last lines."""
        from lesionloss.data.layouts import layouts

        super().format_help(ctx, formatter)
        known = f"Layouts: {', '.join(layouts.names())}. What each looks like: lesionloss layouts NAME"
        say("\n".join(textwrap.wrap(known, 78, initial_indent=" ", subsequent_indent=" ")))


@command(panel=panels.IMAGES, cls=LayoutsInHelp, examples=EXAMPLES)
def data(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of patients, or LAYOUT:PATH, e.g. lit:PATH.")],
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="What counts as lesion; default: the layout's first target.")
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Folds to check: splits_final.json of nnU-Net, or a file of folds."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN|PRESET",
            help="Prepare the cases as this plan does, in a temporary folder, draw training batches by its sampler, "
            "and print their lesion share.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Read and check every case of a data set, and list all problems; exit code 1 if there are any.

    The layout of the folder is recognised by its files. Lesions are connected voxels (corners count), mm³ is their
    volume, share is their share of all voxels; mask says whether there is a brain mask. Warnings don't change the exit
    code. Nothing is written.
    """
    from lesionloss.cli.progress import track
    from lesionloss.data.checking.check_splits import read_splits
    from lesionloss.data.checking.survey import survey
    from lesionloss.data.cohort import open_cohort

    folds = None if splits is None else (splits, read_splits(splits))
    cohort = open_cohort(path, target)
    found = survey(cohort, lambda cases: track("reading", len(cases), cases), folds)
    batches = None if plan is None else _batches(plan, path, target)
    if as_json:
        say(json.dumps(found.as_record() | ({"training_batches": asdict(batches)} if batches else {}), indent=2))
    else:
        _show(found, batches)
    if found.problems:
        raise typer.Exit(ExitCode.PROBLEM)


def _batches(name: str, path: str, target: str | None) -> "BatchShares":
    """The lesion share of training batches on all cases, prepared in a temporary folder as the plan says."""
    import tempfile

    from lesionloss.bench.batch_shares import batch_shares_of
    from lesionloss.bench.make_cohort import prepare_run_cohort
    from lesionloss.cli.plan_options import chosen_plan
    from lesionloss.cli.progress import TerminalWatcher

    plan = chosen_plan(name, path, [])
    if target is not None:
        plan = plan.changed({"data": plan.data.model_dump() | {"target": target}})
    with tempfile.TemporaryDirectory(prefix="lesionloss-") as folder, TerminalWatcher(plan.name) as watcher:
        return batch_shares_of(plan, prepare_run_cohort(plan, Path(folder), watcher))


def _show(found: "Survey", batches: "BatchShares | None") -> None:
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=PIPED_WIDTH)
    console.print(f"{found.title} ({found.layout}); target: {found.target}", highlight=False, markup=False)
    if found.cases:
        console.print(_table(found))
        for line in (*_sums(found.sums()), *_as_printed(found, batches)):
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
    ("lesion size", "lesion_size_voxels", 1.0, " voxels"),
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


def _as_printed(found: "Survey", batches: "BatchShares | None") -> list[str]:
    """Write the columns of Table 1 of Cabezas & Diez 2024; shares are of the image where no case has a brain mask."""
    sums = found.sums()
    masked, cases = sums["cases_with_brain"], sums["cases"]
    of = "brain" if masked else "image"
    total = sums["lesion_share_of_all_brains"] if masked else sums["lesion_share"]
    size, size_mm3 = sums["lesion_size_voxels"], sums["lesion_size_mm3"]
    cells = (
        ("Dataset", found.layout),
        (f"% ({of})", _share(sums[f"lesion_share_of_{of}"], total)),
        ("% (batch)", _share(batches.share, batches.total_share) if batches else "-"),
        ("Mean lesion size", f"{size['mean']:.4g} ({size_mm3['mean']:.4g} mm³)" if size else "-"),
        ("Lesion number", str(sums["lesions"])),
    )
    widths = [max(map(len, cell)) for cell in cells]
    notes = ["" if masked == cases else f"{masked} of {cases} cases have a brain mask" if masked else "no brain mask"]
    notes += [f"{batches.batches} batches of {batches.patches // batches.batches}"] if batches else []
    note = "; ".join(filter(None, notes))
    return [
        f"as in Table 1 of Cabezas & Diez 2024: mean ± SD [all together]{'; ' if note else ''}{note}",
        *("  " + "  ".join(cell[row].ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
          for row in (0, 1)),
    ]  # fmt: skip


def _share(spread: dict[str, float], total: float) -> str:
    mean, sd = 100 * spread["mean"], 100 * spread["sd"]
    return f"{mean:.2f} ± {sd:.2f} [{100 * total:.2f}]"


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
