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

from lesionloss.core.number_text import decimals_for, number


def rows_of(run: Path, table: str, metric: str) -> list[dict[str, str]]:
    """The rows of a table of the run that are about a metric."""
    with (run / "tables" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] == metric]


def shown(value: str, bounds: Iterable[str], decimals: int, *, sign: bool = False) -> str:
    """A value with its interval, `–` where there is none."""
    if not value:
        return number(None)
    texts = [number(float(each), decimals, sign=sign) for each in (value, *bounds) if each]
    return texts[0] if len(texts) < 3 else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def means(run: Path, metric: str) -> dict[str, str]:
    """Of each loss, the mean over patients and its interval."""
    rows = rows_of(run, "summary", metric)
    decimals = decimals_for(float(row["mean"]) for row in rows if row["mean"])
    return {row["loss"]: shown(row["mean"], (row["low"], row["high"]), decimals) for row in rows}


def differences(run: Path, metric: str) -> dict[str, str]:
    """Of each loss but the baseline, its difference, the interval and the verdict."""
    found = {}
    for row in rows_of(run, "differences", metric):
        new = row["new_training_runs_low"], row["new_training_runs_high"]
        bounds = new if all(new) else (row["low"], row["high"])
        decimals = decimals_for([float(row["mean"])]) if row["mean"] else 3
        found[row["loss"]] = f"{shown(row['mean'], bounds, decimals, sign=True)} {row['verdict']}"
    return found


def sizes_of(run: Path) -> dict[str, dict[str, str]]:
    """For each range of volumes, the share of lesions that each loss finds, and its difference from the baseline."""
    columns: dict[str, dict[str, str]] = {}
    with (run / "tables" / "detection-by-size.csv").open(encoding="utf-8", newline="") as file:
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
    parser.add_argument("run", type=Path, help="the run folder, with tables (lesionloss report RUN)")
    parser.add_argument("metrics", nargs="*", help="names of metrics, as in tables/summary.csv")
    parser.add_argument("--differences", action="store_true", help="differences from the baseline instead of means")
    parser.add_argument("--sizes", action="store_true", help="lesions found by volume instead of metrics")
    arguments = parser.parse_args()
    cells = differences if arguments.differences else means
    columns = {metric: cells(arguments.run, metric) for metric in arguments.metrics}
    print(page_table(sizes_of(arguments.run) if arguments.sizes else columns))


if __name__ == "__main__":
    main()
