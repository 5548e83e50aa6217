"""`lesionloss compare` and `lesionloss report`."""

import json
import shutil
from pathlib import Path

import pytest

import lesionloss as ll
from known import known
from lesionloss.core.number_text import interval, number
from lesionloss.report.shown_intervals import CUT_WORDS, within_limits
from lesionloss.report.wording import difference_sentence, seed_variability_sentence
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.results import Results
from lesionloss.statistics import compare
from make_run import TINY_CASES, Made, make_run

LOSSES = ("dice_ce", "0.5*dice + 0.5*focal(gamma=2.0)", "[bold]odd[/bold]")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Made(
        patients=6,
        losses=LOSSES,
        failed=((LOSSES[1], 1, 2),),
        missing=((LOSSES[1], 0, 2),),
        empty=((LOSSES[1], 3),),
        without_lesions=(5,),
        metrics=("dice", "hd95"),
        **TINY_CASES,
    )
    return make_run(tmp_path_factory.mktemp("cli") / "run", made)


@pytest.fixture(scope="module")
def clean_run(tmp_path_factory):
    """Nothing failed and nothing is empty."""
    made = Made(patients=8, losses=("dice_ce", "dice"), seeds=(1, 2, 3), metrics=("dice",), **TINY_CASES)
    return make_run(tmp_path_factory.mktemp("clean") / "run", made)


def test_compare_shows_what_a_person_needs(run, cli):
    code, out, _ = cli("compare", run, "--metric", "dice")
    assert code == 0
    comparison = compare(ll.load(run), "dice")
    for summary in comparison.summaries:
        assert summary.loss in out
        assert f"{number(summary.mean)} " in out
    for words in (
        "(baseline)",
        "2 of 4",
        "FAILED: 0.5*dice",
        "MISSING: 1 trial",
        "correctly empty",
        "verdict",
        "5 of 5",
    ):
        assert words in out
    for difference in comparison.differences:
        assert difference.verdict in out


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_no_number_is_broken_by_a_narrow_window(columns, run, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = cli("compare", run)
    raw = compare(ll.load(run), "dice")
    comparison = within_limits(raw, metric_facts("dice"))
    assert comparison != raw  # 5 patients: an interval of Student's t that ends above 1
    assert CUT_WORDS in " ".join(out.split())
    for summary in comparison.summaries:
        assert interval(summary.interval) in out
    for difference in comparison.differences:
        bounds = interval(difference.interval_new_training_runs, sign=True)
        assert (bounds or "unknown") in out
        assert difference.verdict in out


def test_what_is_the_same_for_all_losses_is_printed_once(cli, tmp_path):
    whole = make_run(tmp_path / "run", Made(patients=6, losses=("dice", "focal"), difference=False, shape=(20, 24, 8)))
    out = " ".join(cli("compare", whole)[1].split())
    assert out.count("0 of 12") == 1
    assert out.count("4 of 4 trials of each loss") == 1
    assert "pairs of training runs (equal weights and batches)" in out


def test_compare_shows_ranks_seed_variability_and_sources(clean_run, cli):
    _, out, _ = cli("compare", clean_run, "--unpaired")
    comparison = compare(ll.load(clean_run), "dice")
    variability = known(comparison.seed_variability)
    assert " ".join(seed_variability_sentence(variability).split()) in " ".join(out.split())
    for words in ("95 %, new", "one seed in", "Sources of the variance of a single score", "rank-sum"):
        assert words in out
    assert "rank-sum" not in cli("compare", clean_run)[1]
    record = json.loads(cli("compare", clean_run, "--json")[1])
    assert record["seed_variability"]["winner_changes"] == variability.winner_changes
    assert [r["high"] for r in record["ranks"]] == [r.high for r in comparison.ranks]
    assert record["differences"][0]["p_rank_sum"] == comparison.differences[0].p_rank_sum


def test_the_metric_is_the_plans_own_unless_named(run, cli):
    assert cli("compare", run)[1] == cli("compare", run, "--metric", "dice")[1]
    assert "95 % Hausdorff distance in mm (lower is better)" in cli("compare", run, "-m", "hd95")[1]
    assert "penalised" in cli("compare", run, "-m", "hd95")[1]


def test_json_is_the_statistics(run, cli):
    code, out, _ = cli("compare", run, "--metric", "hd95", "--json")
    assert code == 0
    record, comparison = json.loads(out), compare(ll.load(run), "hd95")
    assert [s["mean"] for s in record["summaries"]] == [s.mean for s in comparison.summaries]
    assert [d["sentence"] for d in record["differences"]] == [difference_sentence(d) for d in comparison.differences]
    assert record["failed_trials"][0]["reason"].startswith("RuntimeError")
    assert len(record["missing_trials"]) == 1


def test_blanks_in_a_baseline_do_not_matter(run, cli):
    code, out, _ = cli("compare", run, "--baseline", "0.5*dice+0.5*focal(gamma=2.0)", "--json")
    assert code == 0
    assert json.loads(out)["baseline"] == LOSSES[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "dise"], "no metric 'dise'"),
        (["--baseline", "dice_c"], "did you mean 'dice_ce'?"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, cli, words, message):
    code, out, err = cli("compare", run, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_folders_without_a_run_are_refused(tmp_path, cli):
    for command in ("compare", "report"):
        code, _, err = cli(command, tmp_path)
        assert code == 2
        assert "is not a run folder" in err


@pytest.mark.usefixtures("figures_only_as_svg")
def test_report_writes_the_page_and_keeps_what_is_not_its_own(run, cli, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    code, _, err = cli("report", run, "--out", tmp_path / "page.html")
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "page.html").read_text() == "mine"
    code, out, _ = cli("report", run, "--out", tmp_path / "page.html", "--force")
    assert code == 0
    assert "page.html" in out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_several_runs_get_their_reports_and_one_table(cli, tmp_path, monkeypatch):
    made = Made(patients=2, losses=("dice", "dice_ce"), difference=False, metrics=("dice",), **TINY_CASES)
    folders = [make_run(tmp_path / "plan" / "runs" / name, made) for name in ("drive", "isic")]
    written: list[object] = []

    def write_report(run: Results, out: Path | None, **settings: object) -> Path:
        written.append(out)
        return run.folder

    monkeypatch.setattr("lesionloss.report.write_report", write_report)
    code, _, err = cli("report", *folders)
    assert (code, "--out FILE.html" in err, written) == (2, True, [])
    code, out, _ = cli("report", *folders, "--out", tmp_path / "all.html")
    assert (code, written) == (0, [None, None])
    assert "one table over 2 runs" in out
    assert (tmp_path / "all_files" / "tables" / "runs.tex").is_file()
    for _ in range(2):  # a plan of several data sets has a place for the table
        assert cli("report", tmp_path / "plan")[0] == 0
    assert "drive" in (tmp_path / "plan" / "report.html").read_text()


def test_damaged_scores_are_a_finding(run, cli, tmp_path):
    broken = shutil.copytree(run, tmp_path / "run")
    scores = next((broken / "trials").glob("*/scores.csv"))
    scores.write_text("a,b\n1,2\n")
    code, _, err = cli("compare", broken)
    assert code == 1
    assert str(scores) in err
    assert len(err.strip().splitlines()) == 1


def test_help_has_examples(cli):
    for command in ("compare", "report"):
        code, out, _ = cli(command, "--help")
        assert code == 0
        assert f"lesionloss {command} runs/x" in out
