"""Tables as the papers print them, beside what a run measured in the same layout.

`printed/` has one file a paper: only numbers, headings and which metric a column is. Scores of a run that is named here
are those of the report: means over patients, each the mean of its seeds.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import listed
from lesionloss.report.class_means import class_results
from lesionloss.report.training_runs import best_results
from lesionloss.runs.results import Results
from lesionloss.statistics.evidence import mean
from lesionloss.statistics.summaries import summarise

EVERY_CLASS = "every class"
SMALL = "-small"


@dataclass(frozen=True)
class PrintedColumn:
    """A column of a printed table.

    Attributes:
        heading: As printed.
        metric: Our metric.
        part: A class, `every class` for the mean over classes, a split of the curves, or empty.
    """

    heading: str
    metric: str
    part: str = ""


@dataclass(frozen=True)
class PrintedRow:
    """A row of a printed table: the printed name, our loss (empty for a row of data), the printed cells."""

    name: str
    loss: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class PrintedTable:
    """A printed table.

    Attributes:
        paper: Authors, year and journal.
        title: Number and subject of the table.
        of: What the paper scored.
        presets: The presets that make such a table.
        statistic: `mean`, `coefficient_of_variation` or `best`.
        factor: What our scores are multiplied by, such as 100 where the paper prints percent.
    """

    paper: str
    title: str
    of: str
    presets: tuple[str, ...]
    columns: tuple[PrintedColumn, ...]
    rows: tuple[PrintedRow, ...]
    statistic: str
    factor: float


@cache
def all_printed_tables() -> tuple[PrintedTable, ...]:
    """Read the printed tables of all papers."""
    found = []
    for file in sorted(resources.files("lesionloss.report").joinpath("printed").iterdir(), key=lambda each: each.name):
        content = tomllib.loads(file.read_text("utf-8"))
        found += [
            PrintedTable(
                paper=content["paper"],
                title=table["title"],
                of=table["of"],
                presets=tuple(table["presets"]),
                columns=tuple(PrintedColumn(*column) for column in table["columns"]),
                rows=tuple(PrintedRow(name, loss, tuple(cells)) for name, loss, *cells in table["rows"]),
                statistic=table.get("statistic", "mean"),
                factor=table.get("factor", 1),
            )
            for table in content["tables"]
        ]
    return tuple(found)


def printed_tables(plan_name: str) -> tuple[PrintedTable, ...]:
    """Return the printed tables that a plan repeats.

    Args:
        plan_name: The name of a preset, `-small` or not, or of a plan made from one that kept its name.

    Raises:
        UsageError: No paper prints a table for it.
    """
    preset = plan_name.removesuffix(SMALL)
    found = tuple(table for table in all_printed_tables() if preset in table.presets)
    if not found:
        known = listed(sorted({name for table in all_printed_tables() for name in table.presets}))
        raise UsageError(f"no paper prints a table for the plan {plan_name!r}; printed tables are there for {known}")
    return found


def measured_cells(table: PrintedTable, results: Results) -> Mapping[str, tuple[str, ...]]:
    """Return what a run measured for each loss of a printed table, with as many digits as printed.

    Args:
        table: The printed table.
        results: The run.

    Returns:
        Cells by loss, in the order of the columns; an empty cell where the run has no such score.
    """
    columns = [_values(column, table.statistic, results) for column in table.columns]
    return {
        row.loss: tuple(
            _as_printed(values.get(row.loss), table.factor, cell)
            for values, cell in zip(columns, row.cells, strict=True)
        )
        for row in table.rows
        if row.loss
    }


def tables_json(tables: tuple[PrintedTable, ...], results: Results | None) -> str:
    """Return printed and measured cells as JSON."""
    found = []
    for table in tables:
        measured = measured_cells(table, results) if results is not None else {}
        headings = [column.heading for column in table.columns]
        rows = [
            {
                "name": row.name,
                "loss": row.loss,
                "printed": dict(zip(headings, row.cells, strict=True)),
                "measured": dict(zip(headings, measured[row.loss], strict=True)) if row.loss in measured else None,
            }
            for row in table.rows
        ]
        found.append({"paper": table.paper, "title": table.title, "of": table.of, "rows": rows})
    return json.dumps(found, indent=1, ensure_ascii=False)


def _values(column: PrintedColumn, statistic: str, results: Results) -> Mapping[str, float | None]:
    """The scores of one column by loss."""
    if statistic == "best":
        found = best_results(results)
        return {each.loss: each.best for each in found if (each.metric, each.split) == (column.metric, column.part)}
    if column.metric not in results.metrics:
        return {}
    scores = results.metric_scores(column.metric)
    if statistic == "coefficient_of_variation":
        return {each.loss: each.coefficient_of_variation for each in summarise(scores)}
    if not column.part:
        return {each.loss: each.mean for each in summarise(scores)}
    classes = {one.name: {each.loss: each.mean for each in one.losses} for one in class_results(scores)}
    if column.part != EVERY_CLASS:
        return classes.get(column.part, {})
    by_loss = {loss: [m for one in classes.values() if (m := one[loss]) is not None] for loss in scores.losses}
    return {loss: mean(np.array(means)) for loss, means in by_loss.items()}


def _as_printed(value: float | None, factor: float, printed: str) -> str:
    if value is None:
        return ""
    decimals = len(printed.split()[0].partition(".")[2])
    return f"{value * factor:.{decimals}f}"
