"""The tables in docs/results are those of the numbers beside them, and the overviews say what the pages say."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lesionloss.bench.plan import Plan

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"

MEANS = [
    ("calibration.md", "calibration/folds", "brier nll ece dice precision recall"),
    ("calibration.md", "calibration/split", "brier nll ece dice precision recall"),
    ("topk-dice.md", "topk-dice/hippocampus", "dice jaccard precision recall hd95"),
    ("topk-dice.md", "topk-dice/k", "dice precision recall hd95"),
    ("thirteen-losses.md", "thirteen-losses/pretrained", "dice lesion_f1 precision recall asd_pred_to_ref"),
    ("thirteen-losses.md", "thirteen-losses/lit", "dice lesion_f1 precision recall asd_pred_to_ref"),
]
DIFFERENCES = [
    ("calibration.md", "calibration/folds", "brier nll ece dice precision recall"),
    ("topk-dice.md", "topk-dice/hippocampus", "dice precision recall hd95"),
    ("topk-dice.md", "topk-dice/k", "dice precision recall"),
    ("seeds-and-patches.md", "seeds-and-patches/synthetic", "dice recall precision"),
]
INTERVAL = re.compile(r"[+−<>]? ?[.\d]+(?: points?| %)? \[[^\]]+\d[^\]]*\]")


@pytest.fixture
def page_table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that prints the tables of the pages."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("page_table")


def rows_of(cells: Callable[[Path, str], dict[str, str]], table: Path, metrics: str) -> dict[str, str]:
    """The cells of each loss, one for each metric, as they stand in a row."""
    columns = [cells(table, metric) for metric in metrics.split()]
    return {loss: f" | {' | '.join(column[loss] for column in columns)} |" for loss in columns[0]}


@pytest.mark.parametrize(("page", "numbers", "metrics"), MEANS)
def test_a_table_of_means_is_that_of_its_numbers(page_table: ModuleType, page: str, numbers: str, metrics: str) -> None:
    text = (RESULTS / page).read_text(encoding="utf-8")
    rows = rows_of(page_table.means, RESULTS / f"{numbers}-summary.csv", metrics)
    assert [loss for loss, row in rows.items() if row not in text] == []  # some losses have their gamma beside the name


@pytest.mark.parametrize(("page", "numbers", "metrics"), DIFFERENCES)
def test_a_table_of_differences_is_that_of_its_numbers(
    page_table: ModuleType, page: str, numbers: str, metrics: str
) -> None:
    text = (RESULTS / page).read_text(encoding="utf-8")
    rows = rows_of(page_table.differences, RESULTS / f"{numbers}-differences.csv", metrics)
    assert [loss for loss, row in rows.items() if f"| {loss}{row}" not in text] == []


@pytest.mark.parametrize("overview", ["docs/results/index.md"])
def test_an_interval_of_the_overview_stands_in_the_page_that_its_row_links_to(overview: str) -> None:
    rows = [
        line
        for line in (ROOT / overview).read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and "](" in line
    ]
    checked = 0
    for row in rows:
        pages = re.findall(r"\]\(([\w-]+\.md)", row)
        said = " ".join((RESULTS / page).read_text(encoding="utf-8") for page in pages)
        for interval in INTERVAL.findall(row):
            assert interval.strip() in " ".join(said.split()), row
            checked += 1
    assert checked


def test_a_plan_of_the_results_has_the_name_of_its_file() -> None:
    plans = [path for path in (RESULTS / "plans").glob("*.toml") if "based_on" in path.read_text(encoding="utf-8")]
    assert [Plan.load(path).name for path in plans] == [path.stem for path in plans]
