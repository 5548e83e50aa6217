"""Printed tables of the papers beside a run: rows are losses of the preset, measured numbers those of the report."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lesionloss.bench.plan import Plan
from lesionloss.cli.app import app
from lesionloss.core.errors import UsageError
from lesionloss.report.printed_tables import all_printed_tables, measured_cells, printed_tables
from lesionloss.report.training_runs import best_results
from lesionloss.runs.load_run import load
from lesionloss.statistics.summaries import summarise
from make_run import TINY_CASES, Made, make_run, with_epochs

LOSSES = ("hytver", "tversky", "dice_ce")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Made(patients=6, losses=LOSSES, metrics=("dice", "hd95", "precision"), difference=False, **TINY_CASES)
    return make_run(tmp_path_factory.mktemp("printed") / "run", made)


@pytest.mark.parametrize("table", all_printed_tables(), ids=lambda table: f"{table.presets[0]}: {table.title}")
def test_rows_and_columns_are_those_of_the_presets(table) -> None:
    for preset in table.presets:
        plan = Plan.preset(preset)
        assert {row.loss for row in table.rows} <= {"", *plan.losses}
        assert {column.metric for column in table.columns} <= {"", *plan.metrics, *plan.curves.metrics}
    for row in table.rows:
        assert len(row.cells) == len(table.columns)
        for cell in row.cells:
            value = float(cell.split()[0])
            if "(" in cell:
                low, high = (float(bound) for bound in cell.partition("(")[2].rstrip(")").split("-"))
                assert low <= value <= high
                assert value - low == pytest.approx(high - value, abs=0.0015)  # the papers' intervals are symmetric


def test_numbers_of_a_known_row_are_as_printed() -> None:
    hytver = printed_tables("hytver")[0].rows[-1]
    assert (hytver.name, hytver.cells) == ("HyTver", ("0.659", "0.524", "36.4", "6.83", "0.724", "0.747"))


def test_measured_numbers_are_those_of_the_report_rounded_as_printed(run: Path) -> None:
    results = load(run)
    first, second = printed_tables("hytver-small")
    dice = {each.loss: each for each in summarise(results.metric_scores("dice"))}
    cells = measured_cells(first, results)
    variation = measured_cells(second, results)
    for loss in LOSSES:
        assert cells[loss][0] == f"{dice[loss].mean:.3f}"
        assert variation[loss][0] == f"{dice[loss].coefficient_of_variation:.4f}"
        assert cells[loss][1] == ""  # Jaccard was not scored
    assert cells["focal"] == ("",) * 6  # not in the run


def test_best_results_are_those_of_the_table_of_best_epochs(tmp_path: Path) -> None:
    losses = ("cross_entropy", "dice")
    made = Made(patients=6, losses=losses, metrics=("dice",), difference=False, **TINY_CASES)
    splits = {"test": 0.5, "train_images": 0.7, "train_patches": 0.9}
    results = load(with_epochs(make_run(tmp_path / "run", made), splits))
    table = printed_tables("cabezas-lit")[1]
    best = {(each.loss, each.split): each.best for each in best_results(results)}
    for loss in losses:
        found = measured_cells(table, results)[loss][:3]
        assert found == tuple(f"{best[loss, split]:.2f}" for split in ("train_patches", "train_images", "test"))
    assert measured_cells(table, results)["focal"] == ("",) * 9


def test_the_command_prints_both_and_writes_json(run: Path) -> None:
    shown = CliRunner().invoke(app, ["bench", "hytver", "--paper", "--out", str(run)], env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.output
    assert "HyTver, printed" in shown.output
    assert "not a test of the paper's numbers" in shown.output
    written = CliRunner().invoke(app, ["bench", "hytver", "--paper", "--json"])
    rows = json.loads(written.output)[0]["rows"]
    assert rows[-1]["printed"]["DC"] == "0.659"
    assert rows[-1]["measured"] is None


def test_a_plan_without_a_paper_is_one_line() -> None:
    with pytest.raises(UsageError, match="no paper prints a table for the plan 'quickstart'; printed tables are there"):
        printed_tables("quickstart")
