"""`lesionloss bench PRESET --paper`: the printed tables of a paper, beside the numbers of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lesionloss.cli.terminal import plain_console, say

if TYPE_CHECKING:
    from lesionloss.report.printed_tables import PrintedTable
    from lesionloss.runs.results import Results


def show_paper(plan_name: str, run: Path | None, as_json: bool) -> None:
    """Print the tables that a paper prints for a plan; with a run, its own numbers below each row.

    Args:
        plan_name: The name of the plan.
        run: A run folder, or None.
        as_json: For programs.

    Raises:
        UsageError: No paper prints a table for the plan, or the folder is not a run.
    """
    from lesionloss.report.printed_tables import printed_tables, tables_json
    from lesionloss.runs.load_run import load

    tables = printed_tables(plan_name)
    results = load(run) if run is not None else None
    if as_json:
        say(tables_json(tables, results))
        return
    console = plain_console()
    for table in tables:
        _print(table, results, console)
    if results is None:
        say("with --out RUN, the numbers of your run stand below each printed row")


def _print(table: "PrintedTable", results: "Results | None", console: Console) -> None:
    from lesionloss.report.printed_tables import measured_cells

    console.print(f"{table.paper}, {table.title} ({table.of})", markup=False, highlight=False)
    shown = Table("loss", *(column.heading for column in table.columns))
    measured = measured_cells(table, results) if results is not None else {}
    for row in table.rows:
        shown.add_row(f"{row.name}, printed" if measured else row.name, *row.cells)
        if row.loss in measured:
            shown.add_row(row.loss, *(cell or "–" for cell in measured[row.loss]), style="bold", end_section=True)
    console.print(shown)
    if results is not None:
        patients = len({case.patient for case in results.cohort})
        console.print(
            f"bold: {results.folder}, {patients} patients; other patients, another split and another number of "
            "training runs than the paper's: not a test of the paper's numbers\n",
            markup=False,
            highlight=False,
        )
