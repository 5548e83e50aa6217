"""Tables and figures that papers print: variation, best epochs, curves by split and fold, thresholds, classes, runs."""

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest

import lesionloss as ll
from known import known
from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import number
from lesionloss.metrics import list_metrics
from lesionloss.metrics.thresholds import count_thresholds
from lesionloss.report import write_joint_report
from lesionloss.report.figure_files import as_svg
from lesionloss.report.loss_styles import choose_styles
from lesionloss.report.number_html import look_up
from lesionloss.report.report_content import collect_content
from lesionloss.report.row_charts import patients_chart
from lesionloss.report.shown_intervals import within
from lesionloss.report.tables import write_tables
from lesionloss.report.training_runs import best_results, training_run_scores
from lesionloss.statistics import Interval, compare
from lesionloss.statistics.evidence import mean_interval
from make_run import TINY_CASES, Made, make_run, seal_run

SPLITS = ("train_patches", "train_images", "test")
NUMBER = re.compile(r'<span data-n="([^"]+)">([^<]*)</span>')


def rows_of(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))


def change_scores(folder, new_rows):
    """Add rows to all scores: `new_rows` gets a complete row and the trial's loss, fold and seed."""
    for path in sorted((folder / "trials").glob("*/scores.csv")):
        rows = rows_of(path)
        rows += new_rows(next(row for row in rows if row["status"] == "ok" and row["metric"] == "dice"))
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return seal_run(folder)


def epochs_and_classes(row):
    """Three epochs of three splits; two classes of the last epoch."""
    draw = np.random.default_rng(len(row["loss"]) + 10 * int(row["fold"]) + 100 * int(row["seed"]))
    found = []
    for epoch in range(1, 4):
        for split in SPLITS:
            for metric, unit in (("dice", ""), ("hd95", "mm")):
                values = {"metric": metric, "unit": unit, "value": repr(float(draw.uniform()))}
                found += [row | values | {"epoch": str(epoch), "split": split, "case": case} for case in "ab"]
    for name, value in (("liver_left", 0.9), ("aorta", 0.5)):
        for case in ("patient00", "patient01"):
            found.append(row | {"lesion": name, "value": repr(value), "case": case, "patient": case})
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Made(patients=6, losses=("dice_ce", "dice"), difference=False, metrics=("dice", "hd95"), **TINY_CASES)
    folder = change_scores(make_run(tmp_path_factory.mktemp("curves") / "run", made), epochs_and_classes)
    ll.write_report(ll.load(folder), formats=())
    return folder


def means_by_hand(folder):
    tables = [pd.read_csv(path) for path in folder.glob("trials/*/scores.csv")]
    table = pd.concat(tables).query("epoch != 'last'").astype({"epoch": int})
    return table.groupby(["metric", "split", "loss", "fold", "seed", "epoch"])["value"].mean()


def test_the_best_epoch_and_seed_of_each_fold_stand_beside_the_last_epoch(run):
    means, found = means_by_hand(run), best_results(ll.load(run))
    assert len(found) == 2 * 3 * 2
    for each in found:
        own = means[each.metric, each.split, each.loss]
        best = own.groupby("fold").min() if each.metric == "hd95" else own.groupby("fold").max()
        assert each.best == pytest.approx(best.mean())
        assert each.last == pytest.approx(own.xs(3, level="epoch").groupby("fold").mean().mean())
        for fold in each.folds:
            assert fold.best == pytest.approx(own[fold.fold, fold.seed, fold.epoch])
    page = (run / "report.html").read_text()
    assert "The best is optimistic" in page
    record = json.loads((run / "report.json").read_text())
    shown = {path: text for path, text in NUMBER.findall(page) if path.startswith("best_epochs.")}
    assert len(shown) == 2 * len(found)
    assert all(text == number(look_up(record, path), len(text.split(".")[1])) for path, text in shown.items())


def test_the_table_of_best_epochs_has_the_layout_of_the_paper(run):
    text = (run / "tables" / "best-epochs.tex").read_text()
    assert r" & \multicolumn{3}{c}{Dice} & \multicolumn{3}{c}{95 \% Hausdorff distance} \\" in text
    assert r"Loss & Patch & Train & Test & Patch & Train & Test \\" in text
    assert text.index("(optimistic)") < text.index("Last epoch, all seeds")
    rows = [line for line in text.splitlines() if r"\texttt{" in line]
    assert [line.count(" & ") for line in rows] == [6] * 4
    assert text.count("{") == text.count("}")
    csv_rows = rows_of(run / "tables" / "best-epochs.csv")
    assert len(csv_rows) == 2 * 3 * 2 * 3  # two folds and their mean
    mean = next(row for row in csv_rows if row["fold"] == "")
    assert float(mean["best"]) == best_results(ll.load(run))[0].best


def test_curves_of_each_fold_are_in_table_and_figure(run):
    means = means_by_hand(run)["dice", "test", "dice"]
    rows = [
        r
        for r in rows_of(run / "tables" / "epochs.csv")
        if (r["metric"], r["split"], r["loss"]) == ("dice", "test", "dice")
    ]
    assert {row["fold"] for row in rows} == {"", "0", "1"}
    for row in rows:
        if row["fold"]:
            seeds = means.xs(int(row["fold"]), level="fold").xs(int(float(row["epoch"])), level="epoch")
            values = [seeds.mean(), seeds.min(), seeds.max()]
            assert [float(row[name]) for name in ("mean", "low", "high")] == pytest.approx(values)
            assert row["training_runs"] == "2"
    for name, words in (("epochs-by-split-dice", "Dice"), ("epochs-by-fold-dice", "Dice, fold 1")):
        svg = (run / "figures" / f"{name}.svg").read_text()
        for each in ("training patches", "training images", "test images", "epoch", "range over training runs", words):
            assert f">{each}<" in svg
        assert ">dice_ce<" in svg


def test_single_training_runs_have_training_and_test_images(run):
    found = training_run_scores(ll.load(run))
    means = means_by_hand(run)
    assert len(found) == 2 * 3 * 2 * 4
    for each in found:
        assert each.mean == pytest.approx(means[each.metric, each.split, each.loss, each.fold, each.seed, 3])
        assert (each.epoch, each.cases) == (3, 2)
    svg = (run / "figures" / "training-runs-dice.svg").read_text()
    assert ">training images<" in svg
    assert ">test images<" in svg
    assert len(rows_of(run / "tables" / "training-runs.csv")) == len(found)


def test_without_curves_single_training_runs_are_of_the_compared_weights(tmp_path):
    made = Made(patients=4, losses=("dice", "dice_ce"), metrics=("dice",), empty=(("dice", 1),), **TINY_CASES)
    results = ll.load(make_run(tmp_path / "run", made))
    found = training_run_scores(results)
    assert {(each.split, each.loss) for each in found} == {("test", "dice"), ("test", "dice_ce")}  # no untrained method
    rows = results.metric_scores("dice").rows
    for each in found:
        own = rows[(rows["loss"] == each.loss) & (rows["fold"] == each.fold) & (rows["seed"] == each.seed)]
        assert each.mean == pytest.approx(own["value"].mean())
        assert each.epoch is None


def test_the_coefficient_of_variation_is_on_the_page_in_csv_and_latex(run):
    results = ll.load(run)
    wide = {row["loss"]: row for row in rows_of(run / "tables" / "variation.csv")}
    latex, page = (run / "tables" / "variation.tex").read_text(), (run / "report.html").read_text()
    long = {(row["loss"], row["metric"]): row for row in rows_of(run / "tables" / "summary.csv")}
    for place, metric in enumerate(results.metrics):
        for index, summary in enumerate(compare(results, metric).summaries):
            value = known(summary.coefficient_of_variation)
            assert float(wide[summary.loss][metric]) == value
            assert float(long[summary.loss, metric]["coefficient_of_variation"]) == value
            assert number(value, 4) in latex
            path = f"metrics.{place}.summaries.{index}.coefficient_of_variation"
            assert f'<span data-n="{path}">{number(value)}</span>' in page


def test_curves_over_thresholds_are_means_over_patients_with_their_intervals(run):
    results = ll.load(run)
    rows = [row for row in rows_of(run / "tables" / "thresholds.csv") if row["loss"] == "dice"]
    assert [float(row["threshold"]) for row in rows] == pytest.approx(np.arange(0.05, 0.951, 0.05))
    trials = [trial for trial in results.trials if trial.loss == "dice"]
    for row in rows[::6]:
        of_patient: dict[str, list[float]] = {}
        for trial in trials:
            for case in trial.record["test"]:
                reference = results.case(case)["reference"].astype(bool)
                counts = count_thresholds(results.probability(trial.key, case), reference, [float(row["threshold"])])
                of_patient.setdefault(case, []).append(float(counts.recall[0]))
        values = np.array([np.mean(seeds) for seeds in of_patient.values()])
        interval = known(mean_interval(values))
        assert row["recall_patients"] == "6"
        found = [float(row[f"recall{part}"]) for part in ("", "_low", "_high")]
        assert found == pytest.approx([values.mean(), interval.low, interval.high])


def test_every_exported_sheet_has_a_legend_and_labels(run):
    wanted = {
        "thresholds": ("recall", "precision", "Dice", "95 % interval over patients", "probability threshold"),
        "reliability": ("perfect calibration", "share of lesion voxels", "voxels", "predicted probability"),
        "gradients": ("lesion voxel", "background voxel", "gradient × voxels"),
        "training": ("step", "loss", "mean over folds and seeds"),
        "epochs-hd95": ("epoch", "95 % Hausdorff distance [mm]", "training patches", "range over training runs"),
        "ranks-dice": ("Mark: rank of the means. Band: ranks that the data leave possible (95 %).",),
    }
    for name, words in wanted.items():
        svg = (run / "figures" / f"{name}.svg").read_text()
        assert [each for each in words if f">{each}<" not in svg] == []
    assert "whiskers" in (run / "figures" / "patients-dice.svg").read_text()


def test_tables_of_classes_have_losses_by_classes_with_the_mean_over_classes(run):
    text = (run / "tables" / "classes.tex").read_text()
    assert r"Loss & Mean Dice & liver\_left & aorta \\" in text
    line = next(line for line in text.splitlines() if r"\texttt{dice}" in line)
    assert [cell.split()[0] for cell in line.split(" & ")[1:]] == [".700", ".900", ".500"]
    record = json.loads((run / "report.json").read_text())
    assert record["metrics"][0]["means_over_classes"] == pytest.approx([0.7, 0.7])
    page = (run / "report.html").read_text()
    assert page.count('data-n="metrics.0.means_over_classes.1">.700<') == 1


def test_no_interval_is_shown_beyond_the_limits_of_a_metric(tmp_path):
    made = Made(
        patients=3, folds=3, losses=("dice_ce", "dice"), empty=(("dice", 1),), metrics=("dice", "brier"), **TINY_CASES
    )
    folder = make_run(tmp_path / "run", made)
    results = ll.load(folder)
    raw = {s.loss: known(s.interval) for s in compare(results, "dice").summaries}
    assert raw["dice"].low < 0
    assert raw["dice"].high > 1
    content = collect_content(results, "none")
    write_tables(content, folder / "tables")
    for row in rows_of(folder / "tables" / "summary.csv"):
        assert 0 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 1
    for row in rows_of(folder / "tables" / "differences.csv"):
        assert -1 <= float(row["low"]) <= float(row["high"]) <= 1
    for row in rows_of(folder / "tables" / "thresholds.csv"):
        assert not row["dice_low"] or 0 <= float(row["dice_low"]) <= float(row["dice_high"]) <= 1
    assert "[.000, 1.000]" in (folder / "tables" / "summary.tex").read_text()
    chart = as_svg(patients_chart(content.metrics[0].scores, content.comparisons[0], choose_styles(results)))
    assert "[.000, 1.000]" in chart
    assert within(Interval(-0.2, 0.4), (0.0, 1.0)) == Interval(0.0, 0.4)
    assert within(None, (0.0, 1.0)) is None


def test_the_limits_of_a_metric_hold_the_values_of_its_empty_cases():
    for metric in list_metrics():
        low, high = metric.limits
        fixed = [value for value in (metric.empty.pred, metric.empty.ref, metric.empty.both) if value is not None]
        assert all(low <= value <= high for value in fixed if not np.isnan(value))
        assert high == 1.0 or metric.direction != "higher"


def test_several_runs_are_pooled_below_their_table(tmp_path):
    made = Made(
        patients=6, losses=("dice_ce", "dice", "focal"), folds=3, difference=False, metrics=("dice",), **TINY_CASES
    )
    runs = [ll.load(make_run(tmp_path / name, made)) for name in ("drive", "isic")]
    text = write_joint_report(runs, tmp_path / "all.html").read_text()
    record = json.loads((tmp_path / "all_files" / "report.json").read_text())
    rows = rows_of(tmp_path / "all_files" / "tables" / "over-runs.csv")
    assert [row["loss"] for row in rows] == ["dice_ce", "dice", "focal"]
    (pooled,) = record["over_runs"]
    assert float(rows[1]["mean"]) == pooled["differences"][0]["mean"]
    found = [(path, t) for path, t in NUMBER.findall(text) if path.startswith("over_runs")]
    assert len(found) > 10
    for path, t in found:
        assert float(t.removeprefix("p = ").replace("−", "-")) == pytest.approx(look_up(record, path), abs=0.006)
    assert "Friedman" in text


def test_several_runs_stand_in_one_table(tmp_path):
    first = Made(patients=2, losses=("dice_ce", "<b>odd</b>"), difference=False, metrics=("dice",), **TINY_CASES)
    second = Made(patients=2, losses=("dice_ce",), difference=False, metrics=("dice", "hd95"), **TINY_CASES)
    folders = [make_run(tmp_path / name, made) for name, made in (("drive", first), ("isic", second))]
    runs = [ll.load(folder) for folder in folders]
    (folders[0] / "report.html").write_text("its own report")
    page = write_joint_report(runs, tmp_path / "all.html")
    rows = rows_of(tmp_path / "all_files" / "tables" / "runs.csv")
    assert [(row["run"], row["loss"], row["metric"]) for row in rows] == [
        ("drive", "dice_ce", "dice"),
        ("drive", "<b>odd</b>", "dice"),
        ("isic", "dice_ce", "dice"),
        ("isic", "dice_ce", "hd95"),
    ]
    assert float(rows[2]["mean"]) == compare(runs[1], "dice").summaries[0].mean
    text, record = page.read_text(), json.loads((tmp_path / "all_files" / "report.json").read_text())
    found = NUMBER.findall(text)
    assert len(found) > 12
    assert all(t == "–" or float(t) == pytest.approx(look_up(record, path), abs=0.006) for path, t in found)
    assert "<b>odd" not in text
    assert "drive/report.html" in text  # a link to the run's own report
    latex = (tmp_path / "all_files" / "tables" / "runs.tex").read_text()
    assert r"Run & Loss & Dice & 95 \% Hausdorff distance [mm] \\" in latex
    assert re.search(r"drive & \\texttt\{dice\\_ce\} & .* & -- \\\\", latex)
    with pytest.raises(UsageError, match="no report wrote it"):
        write_joint_report(runs, folders[0] / "report.html")
