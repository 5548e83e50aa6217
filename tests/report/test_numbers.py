"""Every number of the page is that of report.json, and report.json is what statistics and metrics say."""

import csv
import json
import re
import shutil
import subprocess
import tomllib
from importlib.resources import files

import numpy as np
import pytest

import lesionloss as ll
from known import known
from lesionloss.bench.plan.plan_model import Plan
from lesionloss.core.errors import UsageError
from lesionloss.core.version import __version__
from lesionloss.metrics.calibration import reliability
from lesionloss.metrics.case import Case
from lesionloss.metrics.lesion_table import detection_by_size, lesion_table
from lesionloss.metrics.thresholds import count_thresholds
from lesionloss.report.case_maps import read_case_maps
from lesionloss.report.embedded_cases import embedded
from lesionloss.report.loss_references import references_of
from lesionloss.report.number_html import look_up
from lesionloss.report.probability_maps import THRESHOLDS, calibration, lesions_of
from lesionloss.report.shown_intervals import within_limits
from lesionloss.report.wording import difference_sentence
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.scores import LAST_EPOCH
from lesionloss.statistics import compare, estimate_components, rank_losses
from make_run import DIFFERENCE_THRESHOLD, TINY_CASES, Made, make_run, with_epochs

LOSSES = ("dice_ce", "hytver", "0.5*dice + 0.5*focal(gamma=2.0)")
SPLITS = {"test": 0.5, "train_images": 0.7, "train_patches": 0.9}
LATEX_HEAD = r"\documentclass{article}\usepackage{booktabs}\usepackage[T1]{fontenc}\begin{document}" + "\n"
# What a number of the page looks like: its place in report.json, and its text.
NUMBER = re.compile(r'<span data-n="([^"]+)">([^<]*)</span>')


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Made(
        patients=6,
        losses=LOSSES,
        skill={"hytver": 0.5},
        empty=(("hytver", 3),),
        without_lesions=(5,),
        metrics=("dice", "hd95"),
        **TINY_CASES,
        vanishing=("hytver",),
    )
    folder = with_epochs(make_run(tmp_path_factory.mktemp("numbers") / "run", made), SPLITS)
    ll.write_report(ll.load(folder), formats=())
    return folder


def rounded(value, text):
    """Whether `text` is `value` as it is printed, at whatever number of decimals."""
    if value is None:
        return text == "–"
    plain = text.removeprefix("p = ").replace("−", "-").replace("+", "")
    decimals = len(plain.partition(".")[2])
    return float(plain) == float(f"{value:.{decimals}f}")


def test_every_number_of_the_page_is_that_of_report_json(run):
    record = json.loads((run / "report.json").read_text())
    found = NUMBER.findall((run / "report.html").read_text())
    assert len(found) > 150
    wrong = [(path, text) for path, text in found if not rounded(look_up(record, path), text)]
    assert wrong == []
    kinds = {path.split(".")[0] for path, _ in found}
    assert kinds == {
        "metrics",
        "detection",
        "size_differences",
        "cases",
        "without_lesions",
        "best_epochs",
        "gradient_norms",
    }


def test_report_json_is_the_statistics(run):
    record, results = json.loads((run / "report.json").read_text()), ll.load(run)
    for place, metric in enumerate(results.metrics):
        comparison = within_limits(compare(results, metric), metric_facts(metric))
        stored = record["metrics"][place]
        assert [s["mean"] for s in stored["summaries"]] == [s.mean for s in comparison.summaries]
        assert [d["p_holm"] for d in stored["differences"]] == [d.p_holm for d in comparison.differences]
        assert [d["sentence"] for d in stored["differences"]] == [
            difference_sentence(d) for d in comparison.differences
        ]
        assert [(r["rank"], r["low"], r["high"]) for r in stored["ranks"]] == [
            (rank.rank, rank.low, rank.high) for rank in rank_losses(results.metric_scores(metric))
        ]
        assert [c["share"] for c in stored["components"]] == [
            c.share for c in estimate_components(results.metric_scores(metric))
        ]
    assert {entry["loss"] for entry in record["vanishing_gradients"]} == {"hytver"}
    assert "hytver: 4 training runs ended with up to 60 % of the lesion voxels without gradient." in (
        run / "report.html"
    ).read_text().replace("\n", " ")


@pytest.fixture(scope="module")
def work(run):
    results = ll.load(run)
    return results, read_case_maps(results, results.metric_scores("dice"), ())


def test_counts_at_thresholds_are_those_of_the_metrics(work):
    results, maps = work
    counts = maps.of("dice_ce")
    assert len(counts) == 12
    for each in counts:
        trial = next(t for t in results.trials if (t.loss, t.seed) == ("dice_ce", each.seed) and t.tested(each.case))
        probability, reference = results.probability(trial.key, each.case), results.case(each.case)["reference"]
        expected = count_thresholds(probability, reference.astype(bool), THRESHOLDS)
        for name in ("tp", "fp", "fn"):
            assert (getattr(each.over_thresholds, name) == getattr(expected, name)).all()
        diagram = reliability(Case(probability, reference.astype(bool), spacing_mm=(4, 4, 6)))
        measured = calibration([each])
        assert (measured.voxels == diagram.voxels).all()
        np.testing.assert_allclose(measured.probability, diagram.probability, rtol=1e-12)
        np.testing.assert_allclose(measured.lesion, diagram.lesion, rtol=1e-12)


def test_lesions_found_by_size_are_those_of_the_lesion_table(work):
    results, maps = work
    totals = np.zeros((4, 2), dtype=int)
    for trial in (t for t in results.trials if t.loss == "dice_ce"):
        for name in trial.record["test"]:
            mask = results.probability(trial.key, name) >= 0.5
            case = Case(mask, results.case(name)["reference"].astype(bool), spacing_mm=(4, 4, 6))
            sizes = detection_by_size(lesion_table(case, min_voxels=1))
            totals += [[size.lesions, size.found] for size in sizes]
    assert [[size.lesions, size.found] for size in maps.detected("dice_ce", 0.5)] == totals.tolist()
    assert totals[:, 0].sum() > 0


def test_lesions_are_numbered_from_the_largest_and_small_ones_left_out():
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, 0, 0] = True
    mask[2:4, 2:4, 2:4] = True
    mask[5:9, 5:9, 5:9] = True
    found = lesions_of(mask, (1.0, 1.0, 1.0))
    assert found.voxels.tolist() == [64, 8]
    assert found.centres.tolist() == [[6.5, 6.5, 6.5], [2.5, 2.5, 2.5]]
    assert found.labels[0, 0, 0] == 0
    assert found.labels[6, 6, 6] == 1


def test_worst_cases_come_first_and_embedded_ones_are_spread(run):
    results = ll.load(run)
    order = results.metric_scores("dice").worst_first
    rows = results.scores.query(f"metric == 'dice' and epoch == {LAST_EPOCH} and status in ['ok', 'pred_empty']")
    means = rows.groupby("case")["value"].mean()
    assert list(order) == list(means.sort_values().index)
    assert results.metric_scores("hd95").worst_first[0] == "patient03"  # empty in one loss: the diagonal


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("worst,median,best", "bcd"),
        (3, "bcd"),
        ("1", "b"),
        ("9", "bcd"),
        ("all", "bcda3"),
        ("none", ""),
        ("", ""),
        (0, ""),
        ("a, best", "da"),
        ("3", "3"),
    ],
)
def test_cases_of_the_viewer_are_chosen_by_place_number_or_name(text, chosen):
    """`b`, `c`, `d` have a score, from the worst on; `a` and `3` have none: a case named 3 is meant by that name."""
    cases = "abcd3" if text in ("all", "a, best", "3") else "abcd"
    assert embedded("bcd", cases, text) == tuple(chosen)


def test_an_unknown_case_for_the_viewer_is_refused_with_the_nearest_name(run):
    with pytest.raises(UsageError, match=r"got 'patient3'; did you mean 'patient0?3'"):
        ll.write_report(ll.load(run), volumes="worst,patient3", formats=())


def test_the_difference_threshold_has_no_calibration(run):
    record = json.loads((run / "report.json").read_text())
    assert [entry["loss"] for entry in record["calibration"]] == list(LOSSES)
    assert DIFFERENCE_THRESHOLD in [entry["loss"] for entry in record["detection"]]


def test_the_methods_name_settings_seeds_versions_and_sources(run):
    text = (run / "tables" / "methods.txt").read_text()
    for words in (
        "For each loss, fold and seed (1 and 2), a network (unet3d(filters=8)) was trained for 150 steps, with batches "
        "of 4 patches of 32 × 32 × 32 voxels",
        "PyTorch 2.13.0",
        "6 patients, 6 cases, 1 of them without lesions",
        "The voxels measured 4 × 4 × 6 mm.",
        "The cohort was split by patient into 2 folds.",
        "hytver (Perera et al. 2025)",
        "0.5*dice + 0.5*focal(gamma=2.0) (Milletari et al. 2016; Lin et al. 2017)",
        f"All other settings are the defaults of lesionloss {__version__}, but for precision float32 (training).",
        "Wilcoxon",
        "Sources:",
    ):
        assert words in text
    bibtex = (run / "tables" / "losses.bib").read_text()
    assert [bibtex.count(f"{{{key},") for key in ("perera2025hytver", "lin2017focal", "sudre2017generalised")] == [
        1,
        1,
        0,
    ]
    with (run / "tables" / "settings.csv").open() as handle:
        settings = {row["setting"]: row for row in csv.DictReader(handle)}
    assert settings["training.steps"] == {
        "setting": "training.steps",
        "value": "150",
        "default": "1000",
        "differs": "yes",
    }
    assert settings["training.batch"]["differs"] == "no"


def test_the_defaults_of_the_supplement_are_those_of_a_plan():
    known = tomllib.loads((files("lesionloss.report") / "plan_defaults.toml").read_text())
    fields = {name: field for name, field in Plan.model_fields.items() if not field.is_required()}
    plan = Plan.model_construct(
        **{name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    )
    assert known == plan.model_dump(mode="json", exclude_none=True)


def test_every_loss_of_the_package_has_bibtex():
    for loss in ll.list_losses():
        found = references_of(loss.source)
        assert found, loss.name
        for reference in found:
            assert re.match(r"@\w+\{\w+,\n(  \w+ = \{.*\},?\n)+\}$", reference.bibtex)
            assert re.match(r"[A-Z].* (19|20)\d\d$", reference.short)


def test_curves_over_epochs_are_on_the_page_by_split(run):
    page = " ".join((run / "report.html").read_text().split())
    assert "Dice over epochs" in page
    places = [page.index(f"</svg> {words}") for words in ("training patches", "training images", "test images")]
    assert places == sorted(places)


def test_figures_for_a_paper_come_in_three_formats(run):
    names = {path.stem for path in (run / "figures").glob("*.svg")}
    kinds = {
        "patients-dice",
        "differences-dice",
        "ranks-dice",
        "components-dice",
        "case-median",
        "cases",
        "detection-by-size",
    }
    assert names >= kinds | {"thresholds", "reliability", "gradients", "training", "epochs-dice"}
    assert not list((run / "figures").glob("*.png"))


def test_every_list_of_numbers_lies_beside_the_page_as_csv(run):
    record = json.loads((run / "report.json").read_text())
    tables = {path.stem: list(csv.DictReader(path.open())) for path in (run / "tables").glob("*.csv")}
    assert [float(row["dice"]) for row in tables["cases"] if row["dice"]] == [
        case["values"]["dice"] for case in record["cases"] if case["values"]["dice"] is not None
    ]
    ranked = [rank for metric in record["metrics"] for rank in metric["ranks"]]
    assert [int(row["rank"]) for row in tables["ranks"]] == [rank["rank"] for rank in ranked]
    parts = [part for metric in record["metrics"] for part in metric["components"]]
    assert [row["share"] for row in tables["variance"]] == [
        "" if p["share"] is None else repr(p["share"]) for p in parts
    ]
    assert len(tables["gradients"]) == sum(len(curve["probability"]) for curve in record["gradients"])
    assert len(tables["training"]) == sum(len(band["place"]) for band in record["training_loss"])
    assert len(tables["epochs"]) == 4 * len(record["epochs"]) > 0
    assert "classes" not in tables  # this run has one class: no empty table


def test_latex_tables_are_whole(run, tmp_path):
    """Compiled where there is a LaTeX; else brackets, columns and ends are counted."""
    for name in ("summary", "differences", "variation"):
        text = (run / "tables" / f"{name}.tex").read_text()
        columns = len(known(re.search(r"begin\{tabular\}\{(\w+)\}", text))[1])
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert {line.count(" & ") + 1 for line in lines} == {columns}
        assert text.count("{") == text.count("}")
        if shutil.which("pdflatex"):
            (tmp_path / f"{name}.tex").write_text(LATEX_HEAD + text + "\\end{document}\n")
            command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-1500:]
