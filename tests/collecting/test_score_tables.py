"""Long tables of scores, and the CSV of `evaluate`, are read as a run: with or without a folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lesionloss as ll
from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.verify import verify_run
from others_predictions import Others, write_others


def table(folds: int = 5, patients: int = 20, seeds: int = 2, gain: float = 0.05) -> pd.DataFrame:
    """Scores of two losses on patients with two cases each."""
    draw = numpy_generator("table")
    level = draw.uniform(0.5, 0.7, size=patients)
    rows = [
        {
            "loss": loss,
            "fold": number % folds,
            "seed": seed,
            "case": f"p{number:02d}_{visit}",
            "patient": f"p{number:02d}",
            "metric": metric,
            "value": value if metric == "dice" else 10 * (1 - value),
        }
        for loss, more in (("dice", 0.0), ("focal", gain))
        for number in range(patients)
        for visit in (1, 2)
        for seed in range(1, seeds + 1)
        for value in (float(level[number] + more + draw.normal(scale=0.01)),)
        for metric in ("hd95", "dice")
    ]
    return pd.DataFrame(rows)


def test_a_table_is_compared_straight_away() -> None:
    results = ll.collect(table=table())
    assert results.metrics == ("dice", "hd95")
    (difference,) = ll.compare(results, "dice").differences
    assert (difference.verdict, difference.patients) == ("better", 20)
    assert difference.mean == pytest.approx(0.05, abs=0.01)
    assert difference.pairing == "patient"
    assert results.collected["unknown"][0] == "predictions"


def test_a_folder_of_a_table_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    table(patients=5).to_csv(path, index=False)
    results = ll.collect(tmp_path / "run", table=path)
    ours, theirs = (ll.compare(each, "hd95") for each in (results, ll.collect(table=path)))
    assert ours.differences == theirs.differences
    assert verify_run(results.folder)[0].findings == ()
    keys = {trial.key for trial in results.trials}
    assert {trial.key for trial in ll.collect(tmp_path / "run", table=path).trials} == keys
    small = table(patients=5).query("seed == 1")
    assert {trial.seed for trial in ll.collect(tmp_path / "run", table=small).trials} == {1}


def test_a_method_stands_for_a_loss_and_seeds_may_be_unknown() -> None:
    own = table(seeds=1).drop(columns=["seed", "fold"]).rename(columns={"loss": "Method"})
    results = ll.collect(table=own)
    assert results.collected["compares"] == "method"
    assert ll.compare(results, "dice").differences[0].verdict == "seeds unknown"


def test_the_csv_of_evaluate_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lesionloss.cli import main

    data = write_others(tmp_path / "data", Others(folds=1, seeds=(1,)))
    for loss in ("dice", "focal"):
        with pytest.MonkeyPatch.context() as patch:
            words = ["evaluate", data / "results" / loss / "fold_0" / "seed1", data / "labels"]
            words += ["--metrics", "dice,hd95", "--lesions", "--jobs", "1", "--out", tmp_path / f"{loss}.csv"]
            patch.setattr("sys.argv", ["lesionloss", *map(str, words)])
            with pytest.raises(SystemExit):
                main()
    capsys.readouterr()
    results = ll.collect(table=[tmp_path / "dice.csv", tmp_path / "focal.csv"])
    assert results.losses == ("dice", "focal")
    assert len(results.scores) == 2 * 2 * 6
    by_us = ll.collect(
        tmp_path / "run",
        predictions=f"{data}/results/{{loss}}/fold_0/seed1/{{case}}.nii.gz",
        references=data / "labels",
        metrics=["dice", "hd95"],
    )
    for metric in ("dice", "hd95"):
        ours, theirs = (ll.compare(each, metric).differences[0] for each in (by_us, results))
        assert (ours.mean, ours.interval) == (theirs.mean, theirs.interval)


def test_infinite_distances_have_the_penalty_of_the_table() -> None:
    own = table(patients=4, folds=1).query("metric == 'hd95'").assign(penalised=55.0)
    own.loc[own["loss"] == "focal", "value"] = np.inf
    (difference,) = ll.compare(ll.collect(table=own), "hd95").differences
    assert difference.loss_mean == 55.0
    without = ll.compare(ll.collect(table=own.drop(columns="penalised")), "hd95").differences[0]
    assert (without.patients, without.undefined) == (0, 16)


def test_means_over_classes_and_classes() -> None:
    rows = [
        {"loss": loss, "case": f"p{n}", "class": label, "lesion": "", "metric": "dice", "value": 0.5}
        for loss in "ab"
        for n in range(3)
        for label in ("1", "2", "mean")
    ]
    results = ll.collect(table=pd.DataFrame(rows))
    assert set(results.metric_scores("dice").classes["lesion"]) == {"label 1", "label 2"}
    assert len(results.metric_scores("dice").rows) == 6
    with pytest.raises(ll.DataError, match="rows of 2 classes, but none of their mean"):
        ll.collect(table=pd.DataFrame([row for row in rows if row["class"] != "mean"]))


def test_a_metric_that_a_case_lacks_is_undefined_and_listed() -> None:
    own = table(patients=4, folds=2)
    lacking = own.drop(own[(own["metric"] == "hd95") & (own["case"] == "p00_1") & (own["loss"] == "focal")].index)
    results = ll.collect(table=lacking)
    assert results.collected["mismatches"] == [
        "case without a metric: focal, fold 0, seed 1: no hd95 of p00_1",
        "case without a metric: focal, fold 0, seed 2: no hd95 of p00_1",
    ]
    assert ll.compare(results, "hd95").differences[0].undefined == 2


def test_a_metric_of_others_is_named() -> None:
    own = table(patients=4).replace({"hd95": "My score", "dice": "Dice"})
    results = ll.collect(table=own)
    assert results.metrics == ("dice", "My score")
    assert "the direction of My score (higher is taken as better)" in results.collected["unknown"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("value", "83.2", r"line 3: expected dice from 0 to 1, got '83.2'; divide percent by 100"),
        ("value", "high", r"line 3: expected a number, inf, or nothing"),
        ("seed", "one", r"line 3: expected seed as a whole number, got 'one'"),
        ("fold", "-1", r"line 3: expected fold as a whole number"),
        ("status", "lost", r"line 3: expected a status among ok"),
    ],
)
def test_wrong_values_name_file_and_line(tmp_path: Path, column: str, value: str, message: str) -> None:
    own = table(patients=2).assign(status="ok").astype(object)
    own.loc[1, column] = value
    path = tmp_path / "scores.csv"
    own.to_csv(path, index=False)
    with pytest.raises(ll.DataError, match=f"scores.csv {message}"):
        ll.collect(table=path)


def test_wrong_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ll.DataError, match="no column metric among loss"):
        ll.collect(table=table().rename(columns={"metric": "what"}))
    with pytest.raises(ll.DataError, match="no column case or patient"):
        ll.collect(table=table().drop(columns=["case", "patient"]))
    with pytest.raises(ll.DataError, match=r"dice of dice, fold 0, seed 0, case p00_1 is there twice"):
        ll.collect(table=table().drop(columns="seed"))
    with pytest.raises(ll.UsageError, match=r"nothing.csv: can't be read"):
        ll.collect(table=tmp_path / "nothing.csv")
    with pytest.raises(ll.UsageError, match=r"no metric 'dicee' in table; .*dice"):
        ll.collect(table=table(), metrics=["dicee"])
    with pytest.raises(ll.UsageError, match="no loss 'focall' was found"):
        ll.collect(table=table(), baseline="focall")
    with pytest.raises(ll.UsageError, match="exactly one of"):
        ll.collect(table=table(), predictions="x")
