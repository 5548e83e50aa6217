"""Print the tables of a page in docs/results from a finished run, as Markdown.

    python benchmarks/page_table.py runs/nuclei-folds brier nll dice
    python benchmarks/page_table.py runs/nuclei-folds brier nll dice --differences
    python benchmarks/page_table.py runs/thirteen-synthetic --sizes

Without an option: the mean of each metric over patients, with its 95 % interval. `--differences`: each loss minus the
baseline, with the simultaneous 95 % interval over new training runs (over patients where the run allows none) and the
verdict. `--sizes`: the share of lesions found by volume in mm3, and its difference from the baseline over patients.
"""

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

from reported_run import reported_run, rows_of

from lesionloss.core.number_text import decimals_for, number

MOST_DECIMALS = 4  # more would claim a precision that no run here has


def shown(value: str, bounds: Iterable[str], decimals: int, *, sign: bool = False) -> str:
    """A value with its interval, `–` where there is none."""
    if not value:
        return number(None)
    texts = [number(float(each), decimals, sign=sign) for each in (value, *bounds) if each]
    return texts[0] if len(texts) < 3 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def means(summary: Path, metric: str) -> dict[str, str]:
    """Of each loss in summary.csv, the mean over patients and its interval."""
    rows = rows_of(summary, metric)
    decimals = decimals_for(float(row["mean"]) for row in rows if row["mean"])
    return {row["loss"]: shown(row["mean"], (row["low"], row["high"]), decimals) for row in rows}


def differences(table: Path, metric: str) -> dict[str, str]:
    """Of each loss in differences.csv, its difference from the baseline, the interval and the verdict."""
    found = {}
    for row in rows_of(table, metric):
        new = row["new_training_runs_low"], row["new_training_runs_high"]
        bounds = new if all(new) else (row["low"], row["high"])
        decimals = min(decimals_for([float(row["mean"])]), MOST_DECIMALS) if row["mean"] else 3
        found[row["loss"]] = f"{shown(row['mean'], bounds, decimals, sign=True)} {row['verdict']}"
    return found


def sizes_of(table: Path) -> dict[str, dict[str, str]]:
    """From detection-by-size.csv, for each range of volumes: the share of lesions found, and its difference."""
    columns: dict[str, dict[str, str]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            share = number(float(row["found"]) / float(row["lesions"]), 2) if float(row["lesions"]) else number(None)
            more = shown(row["difference"], (row["low"], row["high"]), 2, sign=True) if row["difference"] else ""
            name = f"{float(row['above_mm3']):.0f} to {float(row['up_to_mm3']):.0f}"
            columns.setdefault(name, {})[row["loss"]] = f"{share}, {more}" if more else share
    return columns


def page_table(columns: dict[str, dict[str, str]]) -> str:
    """The table: a row for each loss, a column for each metric or size."""
    losses = dict.fromkeys(loss for column in columns.values() for loss in column)
    body = [[loss, *(column.get(loss, number(None)) for column in columns.values())] for loss in losses]
    rows = [["loss", *columns], ["---"] * (len(columns) + 1), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Read the arguments, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=reported_run, help="the run folder, with tables (lesionloss report RUN)")
    parser.add_argument("metrics", nargs="*", help="names of metrics, as in tables/summary.csv")
    parser.add_argument("--differences", action="store_true", help="differences from the baseline instead of means")
    parser.add_argument("--sizes", action="store_true", help="lesions found by volume instead of metrics")
    arguments = parser.parse_intermixed_args()
    if not arguments.metrics and not arguments.sizes:
        parser.error("name at least one metric, as in tables/summary.csv, or give --sizes")
    tables = arguments.run / "tables"
    if arguments.sizes:
        if not (tables / "detection-by-size.csv").is_file():
            raise SystemExit(f"{tables} has no detection-by-size.csv: the run has no reference masks of lesions")
        columns = sizes_of(tables / "detection-by-size.csv")
    elif arguments.differences:
        columns = {metric: differences(tables / "differences.csv", metric) for metric in arguments.metrics}
    else:
        columns = {metric: means(tables / "summary.csv", metric) for metric in arguments.metrics}
    print(page_table(columns))


if __name__ == "__main__":
    main()
