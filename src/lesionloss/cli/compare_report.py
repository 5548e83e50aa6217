"""`lesionloss compare` and `lesionloss report`: the results of a run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import say

if TYPE_CHECKING:
    from lesionloss.runs.results import Results
    from lesionloss.statistics import Comparison

COMPARE_HELP = """Print every loss in one metric, its paired difference from the baseline loss, and its rank.
"""
COMPARE_EXAMPLES = """
lesionloss compare runs/x
lesionloss compare runs/x --metric hd95 --baseline "0.5*dice + 0.5*focal(gamma=2)"
lesionloss compare runs/x --json > comparison.json
lesionloss compare scores.csv   # a long table: loss, fold, seed, case, patient, metric, value
lesionloss compare dice.csv focal.csv   # what `lesionloss evaluate` wrote, one file for each loss
"""

REPORT_HELP = """Write one HTML page about a run, with its numbers (report.json), tables and figures beside it.

With --out FILE.html, numbers, tables and figures go to the folder FILE_files.

Of several runs, each gets its report, and --out names a page with one table over all of them (default for a plan of
several data sets or networks: DIR/report.html), with CSV and LaTeX in FILE_files/tables.

The files of the report are always written anew. Another existing file is overwritten only with --force.
"""
REPORT_EXAMPLES = """
lesionloss report runs/x
lesionloss report runs/x --out for-the-supervisor.html
lesionloss report runs/x --volumes all   # every case in the viewer: a large file
lesionloss report runs/x --volumes worst,patient07
lesionloss report runs/drive runs/isic --out runs/all.html   # and one table over both
lesionloss report scores.csv   # a long table, as for `compare`: writes scores.html
"""


MOST_JOBS = 3  # drawing takes one process as long as two others need for the rest


@command(panel=panels.RESULTS, help=COMPARE_HELP, examples=COMPARE_EXAMPLES)
def compare(
    places: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="A run folder, as `bench` or `collect` wrote it; or CSV tables of scores."),
    ],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric; default: the plan's primary metric.")] = "",
    baseline: Annotated[str, typer.Option("--baseline", help="The loss to compare with; default: the plan's.")] = "",
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Also show the unpaired rank-sum p, the test of the DSC++ paper.")
    ] = False,
    interim: Annotated[
        bool,
        typer.Option("--interim", help="Verdicts on an unfinished run, at the strict level of an interim look."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of tables.")] = False,
) -> None:
    """Print the comparison of all losses of a run."""
    import json

    from lesionloss.cli.compare_tables import print_comparison
    from lesionloss.core.errors import UsageError
    from lesionloss.statistics import compare as compare_losses

    if len(places) > 1 and not _are_tables(places):
        raise UsageError(f"{len(places)} folders: name one run folder, or CSV tables; `report` takes several runs")
    runs = _read(places)
    records = {}
    for results in runs:
        comparison = compare_losses(results, metric or results.primary_metric, baseline or None, interim=interim)
        if as_json:
            records[results.folder.name] = _record(results, comparison)
        else:
            if len(runs) > 1:
                say(f"\n{results.folder}")
            print_comparison(results, comparison, unpaired=unpaired)
    if as_json:
        found = records if len(runs) > 1 else next(iter(records.values()))
        say(json.dumps(found, indent=2, allow_nan=False))


@command(panel=panels.RESULTS, help=REPORT_HELP, examples=REPORT_EXAMPLES)
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Run folders that `bench` or `collect` wrote, or CSV tables of scores."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="The page; default: DIR/report.html.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.html even if no report wrote it.")] = False,
    volumes: Annotated[
        str,
        typer.Option(
            "--volumes",
            metavar="CASES",
            help="Cases in the viewer of the page, about 1 MB each: worst, median, best, all, none, a number (spread "
            "evenly from the worst to the best) or names, with commas between them.",
        ),
    ] = "worst,median,best",
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Processes; 0: one per core, at most 3.")] = 0,
) -> None:
    """Write the reports of runs, and of several one table over all of them."""
    from lesionloss.core.errors import UsageError
    from lesionloss.core.processors import usable_cores
    from lesionloss.report import files_folder, write_joint_report, write_report

    tables = _are_tables(folders)
    if len(folders) > 1 and out is None and not tables:
        raise UsageError("several folders: name the page with the table over all of them, --out FILE.html")
    jobs = jobs or min(MOST_JOBS, usable_cores())
    results = _read(folders)
    for each in results:
        own = (out or (folders[0].with_suffix(".html") if tables else None)) if len(results) == 1 else None
        path = write_report(each, own, force=force, volumes=volumes, jobs=jobs)
        files = files_folder(path, own=own is None)
        say(f"{path}  (numbers: {files / 'report.json'}, tables: {files / 'tables'}, figures: {files / 'figures'})")
    if len(results) > 1:
        path = write_joint_report(results, out or folders[0] / "report.html", force=force)
        files = files_folder(path, own=False)
        where = f"numbers: {files / 'report.json'}, tables: {files / 'tables'}"
        say(f"{path}  (one table over {len(results)} runs; {where})")


def _are_tables(places: Sequence[Path]) -> bool:
    """Whether all places are CSV files."""
    return all(place.suffix == ".csv" for place in places)


def _read(places: Sequence[Path]) -> "list[Results]":
    """The runs in folders, or all tables together as one run."""
    from lesionloss.runs.load_run import load, run_folders

    if _are_tables(places):
        from lesionloss.collecting import collect

        return [collect(table=places)]
    return [load(run) for place in places for run in run_folders(place)]


def _record(results: "Results", comparison: "Comparison") -> dict[str, Any]:
    from dataclasses import asdict

    from lesionloss.report.noise_wording import noise_floor_record
    from lesionloss.report.wording import difference_sentence
    from lesionloss.statistics import measure_noise_floor

    record: dict[str, Any] = asdict(comparison)
    for entry, difference in zip(record["differences"], comparison.differences, strict=True):
        entry["verdict"], entry["sentence"] = difference.verdict, difference_sentence(difference)
        entry["share_improved"], entry["not_inferior"] = difference.share_improved, difference.not_inferior
    record["noise_floor"] = noise_floor_record(measure_noise_floor(results, comparison.metric))
    if results.collected:
        record["collected"] = dict(results.collected)
    record["patients_in_training_and_test"] = sorted(results.shared_patients)
    record["failed_trials"] = [asdict(trial) for trial in results.failed]
    record["missing_trials"] = [asdict(trial) for trial in results.missing]
    return record
