"""Summaries, paired differences, pairing and evidence of whole run folders."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lesionloss as ll
from known import known
from lesionloss.core.errors import DataError, UsageError
from lesionloss.report.wording import difference_sentence
from lesionloss.runs.metric_scores import patient_values
from lesionloss.statistics import best_loss, compare, paired_rows, rank_losses, summarise
from make_run import DIFFERENCE_THRESHOLD, SMALL_RUN, Made, make_run, seal_run


def test_a_summary_averages_seeds_first_and_then_patients(messy):
    rows = messy.scores.query("metric == 'dice' and loss == 'dice_ce' and patient != 'patient04'")
    by_hand = rows.groupby("patient")["value"].mean()
    summary = next(s for s in summarise(messy.metric_scores("dice")) if s.loss == "dice_ce")
    assert summary.mean == pytest.approx(by_hand.mean())
    assert summary.median == pytest.approx(by_hand.median())
    assert (summary.patients_defined, summary.patients, summary.predictions) == (5, 5, 10)
    seed_means = rows.groupby("seed")["value"].mean()
    assert dict(summary.seed_means) == pytest.approx(seed_means.to_dict())
    assert summary.seed_sd == pytest.approx(seed_means.std())


def test_infinite_distances_are_counted_and_replaced_by_the_diagonal(messy):
    summary = next(s for s in summarise(messy.metric_scores("hd95")) if s.loss == "dice")
    rows = messy.metric_scores("hd95").of_loss("dice")
    assert summary.empty_predictions == int(np.isinf(rows["value"]).sum()) == 2
    assert (summary.patients_defined, summary.patients) == (4, 5)
    diagonal = np.linalg.norm(np.array([24, 28, 8]) * np.array([4.0, 4.0, 6.0]))
    penalised = rows.assign(value=rows["value"].replace(np.inf, diagonal)).groupby("patient")["value"].mean()
    assert summary.penalised_mean == pytest.approx(penalised.mean())
    assert known(summary.mean) < known(summary.penalised_mean)


def test_cases_without_lesions_are_not_in_the_mean_but_are_counted(messy):
    comparison = compare(messy, "dice")
    empties = {empty.loss: empty for empty in comparison.empty_references}
    statuses = messy.scores.query("metric == 'dice' and patient == 'patient04' and loss == 'dice_ce'")["status"]
    assert empties["dice_ce"].predictions == 2
    assert empties["dice_ce"].correct_empty == int((statuses == "both_empty").sum())
    assert "patient04" not in set(messy.metric_scores("dice").rows["patient"])
    assert "patient04" in set(messy.metric_scores("brier").rows["patient"])


def test_differences_are_paired_by_case_fold_and_seed(messy):
    pairs = paired_rows(messy.metric_scores("dice"), "dice", "dice_ce")
    assert len(pairs) == 5 + 3
    wide = messy.scores.query("metric == 'dice'").pivot_table(index=["case", "seed"], columns="loss", values="value")
    for row in pairs.itertuples():
        assert row.difference == pytest.approx(
            wide.loc[(row.case, row.seed), "dice"] - wide.loc[(row.case, row.seed), "dice_ce"]
        )
    (difference,) = (d for d in compare(messy, "dice").differences if d.loss == "dice")
    assert difference.pairing == "training run"
    assert difference.mean == pytest.approx(patient_values(pairs, "difference").mean())
    assert difference.improved + difference.worsened <= difference.patients == 5


def test_the_difference_threshold_is_paired_by_patient(messy):
    (difference,) = (d for d in compare(messy, "dice").differences if d.loss == DIFFERENCE_THRESHOLD)
    assert (difference.pairing, difference.patients, difference.pairs) == ("patient", 5, 10)
    assert [seed for seed, _ in difference.seed_means] == [1, 2]
    back = next(d for d in compare(messy, "dice", DIFFERENCE_THRESHOLD).differences if d.loss == "dice_ce")
    assert back.mean == pytest.approx(-known(difference.mean))


def test_different_weights_are_never_called_a_pair(tmp_path):
    results = ll.load(make_run(tmp_path / "run", replace(SMALL_RUN, unpaired=("dice",))))
    comparison = compare(results, "dice")
    assert comparison.differences[0].pairing == "patient"
    assert len(comparison.warnings) == 1
    assert "do not share weights and batches in 4 of 4" in comparison.warnings[0]


def test_a_true_difference_is_found_and_named_on_the_right_side(tmp_path):
    made = Made(
        patients=10,
        losses=("a", "b", "c"),
        skill={"b": 0.5},
        difference=False,
        folds=5,
        seeds=(1, 2),
        shape=(24, 28, 8),
        radius=(0.2, 0.4),
    )
    results = ll.load(make_run(tmp_path / "run", made))
    both = {metric: compare(results, metric).differences for metric in ("dice", "brier")}
    verdicts = {metric: {d.loss: d.verdict for d in differences} for metric, differences in both.items()}
    assert verdicts["dice"]["b"] == verdicts["brier"]["b"] == "better"
    assert verdicts["dice"]["c"] == "undecided"
    assert best_loss(rank_losses(results.metric_scores("dice"))) == "b"
    sentence = difference_sentence(compare(results, "dice").differences[0])
    assert sentence.startswith("Better than a: +")
    assert "10 of 10 patients" in sentence
    worse = compare(results, "dice", "b")
    assert worse.differences[0].verdict == "worse"
    assert worse.differences[0].comparisons == 3
    assert "b was chosen after the run" in worse.warnings[0]


def test_three_patients_can_show_nothing_and_the_sentence_says_so(tmp_path):
    results = ll.load(make_run(tmp_path / "run", replace(SMALL_RUN, patients=3, skill={"dice": 0.5}, folds=3)))
    comparison = compare(results, "dice")
    assert not comparison.differences[0].can_be_shown
    assert comparison.differences[0].verdict == "undecided"
    assert "with 3 patients no test can reach p < .05" in difference_sentence(comparison.differences[0])
    assert best_loss(comparison.ranks) is None


def test_unknown_names_lead_to_the_nearest_known_ones(messy):
    with pytest.raises(UsageError, match=r"no metric 'dise'.*did you mean 'dice'"):
        compare(messy, "dise")
    with pytest.raises(UsageError, match=r"no loss 'dice_c'.*did you mean 'dice_ce'"):
        compare(messy, "dice", "dice_c")


def test_the_test_is_the_one_that_the_plan_declares(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    plan = (folder / "plan.toml").read_text()
    (folder / "plan.toml").write_text('test = "signed_rank"\n' + plan)
    seal_run(folder)
    declared, default = compare(ll.load(folder), "dice"), compare(ll.load(run), "dice")
    assert [d.p_patients for d in declared.differences] == [d.p_signed_rank for d in default.differences]
    assert [d.p_patients for d in default.differences] == [d.p_sign_flip for d in default.differences]
    (folder / "plan.toml").write_text('test = "sign_flop"\n' + plan)
    seal_run(folder)
    with pytest.raises(UsageError, match=r"no test is named 'sign_flop'; did you mean 'sign_flip'"):
        compare(ll.load(folder), "dice")


def test_effect_sizes_point_to_the_better_side(run):
    results = ll.load(run)
    for metric, least in (("dice", 0.5), ("hd95", 0.0)):
        better = next(d for d in compare(results, metric).differences if d.loss == "dice")
        assert known(better.rank_biserial) > least
        assert known(better.share_improved) == better.improved / better.patients > least


def test_a_score_that_is_not_possible_is_damage(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    path = next(path for path in (folder / "trials").glob("*/scores.csv") if "dice" in path.read_text())
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[table.index[table["metric"] == "dice"][0], "value"] = "1.12"
    table.to_csv(path, index=False)
    seal_run(folder)
    with pytest.raises(DataError, match=r"scores\.csv: dice of case patient.* is 1\.12, which is not possible"):
        compare(ll.load(folder), "dice")
