"""A run folder with its report, as an argument of the scripts that read its tables."""

import csv
from argparse import ArgumentTypeError
from pathlib import Path


def reported_run(text: str) -> Path:
    """Take the path of a run folder; refuse one without a report."""
    if not (Path(text) / "report.json").is_file():
        raise ArgumentTypeError(f"{text} has no report.json; first run: lesionloss report {text}")
    return Path(text)


def rows_of(table: Path, metric: str) -> list[dict[str, str]]:
    """The rows of a table that are about a metric; ends the script where there are none."""
    if not table.is_file():
        raise SystemExit(f"{table} is missing; first run: lesionloss report {table.parents[1]}")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if row["metric"] == metric]
    if not found:
        known = ", ".join(dict.fromkeys(row["metric"] for row in rows))
        raise SystemExit(f"{table} has no metric {metric}; it has {known}")
    return found
