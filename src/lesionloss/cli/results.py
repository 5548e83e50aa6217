"""`lesionloss compare` and `lesionloss report`: what a run folder shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lesionloss.cli.app import app

if TYPE_CHECKING:
    from rich.table import Table

    from lesionloss.bench.results import Results
    from lesionloss.statistics import Comparison

COMPARE_HELP = """The statistics on the screen: every loss in one metric, and its paired difference from the baseline.

Examples:

    lesionloss compare runs/x

    lesionloss compare runs/x --metric hd95 --baseline "0.5*dice + 0.5*focal(gamma=2)"

    lesionloss compare runs/x --json > comparison.json
"""

REPORT_HELP = """Write one HTML page about a run, with its numbers (report.json), tables and figures beside it.

The report's own files are written anew each time; any other existing file needs --force.

Examples:

    lesionloss report runs/x

    lesionloss report runs/x --out for-the-supervisor.html

    lesionloss report runs/x --volumes 1000      # every case in the viewer: a large file
"""


@app.command(help=COMPARE_HELP)
def compare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, as `lesionloss bench --out` wrote it.")],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric to compare; the plan's own if none.")] = "",
    baseline: Annotated[str, typer.Option("--baseline", help="The loss to compare with; the plan's if none.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of tables.")] = False,
) -> None:
    from lesionloss.bench.results import load
    from lesionloss.statistics import compare as compare_losses

    results = load(folder)
    comparison = compare_losses(results, metric or results.primary_metric, baseline or None)
    if as_json:
        typer.echo(_json(results, comparison))
    else:
        _print(results, comparison)


@app.command(help=REPORT_HELP)
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, as `lesionloss bench --out` wrote it.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="Where the page goes instead of DIR/report.html.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.html even if no report wrote it.")] = False,
    volumes: Annotated[
        int,
        typer.Option(
            "--volumes",
            min=0,
            help="Cases for the viewer in the page, evenly from the worst to the best; about 1 MB each.",
        ),
    ] = 3,
) -> None:
    from lesionloss.bench.results import load
    from lesionloss.reporting import report as write_report

    path = write_report(load(folder), out, force=force, volumes=volumes)
    typer.echo(
        f"{path}  (numbers: {folder / 'report.json'}, tables: {folder / 'tables'}, figures: {folder / 'figures'})"
    )


def _json(results: "Results", comparison: "Comparison") -> str:
    import json
    from dataclasses import asdict

    record: dict[str, Any] = asdict(comparison)
    for entry, difference in zip(record["differences"], comparison.differences, strict=True):
        entry["evidence"], entry["sentence"] = difference.evidence, difference.sentence
    record["failed_trials"] = [asdict(trial) for trial in results.failed]
    record["missing_trials"] = [asdict(trial) for trial in results.missing]
    return json.dumps(record, indent=2, allow_nan=False)


def _print(results: "Results", comparison: "Comparison") -> None:
    from rich.console import Console
    from rich.text import Text

    from lesionloss.wording import headline

    console = Console()
    console.print()
    for sentence in headline(comparison, primary=comparison.metric == results.primary_metric):
        console.print(Text(sentence))
    console.print()
    console.print(_means(comparison))
    console.print(_differences(comparison))
    for difference in comparison.differences:
        console.print(Text(f"{difference.loss}: {difference.sentence}"))
    for line in _cautions(results, comparison):
        console.print(Text(line, style="bold yellow"))


def _means(comparison: "Comparison") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lesionloss.bench.values import facts
    from lesionloss.wording import decimals_for, interval, number, unit_text

    rows = comparison.summaries
    decimals = decimals_for(row.mean for row in rows)
    charged = any(row.penalised_mean != row.mean for row in rows)
    unit = f" in {unit_text(comparison.unit)}" if comparison.unit else ""
    direction = "lower" if comparison.lower_is_better else "higher"
    title = f"{facts(comparison.metric).title}{unit} ({direction} is better)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", overflow="fold")
    for heading in ["mean", "95 % interval", "median", "patients", "misses", "seed sd", "trials"]:
        table.add_column(heading, justify="right")
    if charged:
        table.add_column("mean, misses charged", justify="right")
    for row in rows:
        cells: list[str | Text] = [
            Text(row.loss + (" (baseline)" if row.loss == comparison.baseline else "")),
            number(row.mean, decimals),
            interval(row.interval, decimals).replace("[", r"\["),
            number(row.median, decimals),
            f"{row.patients_defined} of {row.patients}",
            f"{row.misses} of {row.predictions}",
            number(row.seed_sd, decimals),
            f"{row.trials} of {row.planned}",
        ]
        table.add_row(*cells, *([number(row.penalised_mean, decimals)] if charged else []))
    return table


def _differences(comparison: "Comparison") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lesionloss.wording import decimals_for, interval, number, probability

    decimals = decimals_for(row.mean for row in comparison.differences)
    title = Text(f"Difference from {comparison.baseline}, patient by patient")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", overflow="fold")
    for heading in ["mean", "95 % interval", "patients", "better in", "p (Holm)", "paired by"]:
        table.add_column(heading, justify="right")
    for row in comparison.differences:
        table.add_row(
            Text(row.loss),
            number(row.mean, decimals, sign=True),
            interval(row.interval, decimals, sign=True).replace("[", r"\["),
            str(row.patients),
            str(row.improved),
            probability(row.p_holm),
            row.pairing,
        )
    return table


def _cautions(results: "Results", comparison: "Comparison") -> list[str]:
    from lesionloss.wording import plural

    lines = [f"Caution: {warning}." for warning in comparison.warnings]
    if comparison.empty_references:
        counts = [f"{empty.loss} {empty.correct_empty} of {empty.predictions}" for empty in comparison.empty_references]
        cases = plural(max(empty.cases for empty in comparison.empty_references), "case")
        lines.append(f"Without lesions in the reference, {cases}: predictions that stayed empty: {'; '.join(counts)}")
    lines += [f"FAILED: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {trial.reason}" for trial in results.failed]
    if results.missing:
        names = sorted({trial.loss for trial in results.missing})
        lines.append(f"MISSING: {plural(len(results.missing), 'trial')} of the plan not run yet ({', '.join(names)})")
    return lines
