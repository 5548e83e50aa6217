"""Training runs that never mark a class are named; a single empty prediction is not."""

from dataclasses import replace

import pandas as pd

import lesionloss as ll
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics import compare
from lesionloss.statistics.never_marked import never_marked
from make_run import Made, make_run


def scores_of(tmp_path) -> MetricScores:
    made = Made(patients=6, losses=("dice", "dice_ce"), without_lesions=(5,))
    return ll.load(make_run(tmp_path / "run", made)).metric_scores("dice")


def emptied(table: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    return table.assign(status=table["status"].mask(chosen, "pred_empty"))


def test_runs_that_mark_something_give_no_warning(tmp_path):
    scores = scores_of(tmp_path)
    assert never_marked(scores) == ()
    one = scores.rows.index == scores.rows.index[0]
    assert never_marked(replace(scores, rows=emptied(scores.rows, pd.Series(one, scores.rows.index)))) == ()


def test_a_loss_that_marks_nothing_in_a_fold_is_named(tmp_path):
    scores = scores_of(tmp_path)
    rows = scores.rows
    chosen = (rows["loss"] == "dice") & (rows["fold"] == 1) & (rows["seed"] == 2)
    (warning,) = never_marked(replace(scores, rows=emptied(rows, chosen)))
    assert warning == "lesions: marked in no test case by 1 of 8 training runs: dice in fold 1, seed 2"


def test_a_collapse_of_all_losses_is_not_blamed_on_a_loss_and_each_class_has_its_own(tmp_path):
    scores = scores_of(tmp_path)
    classes = pd.concat([scores.rows.assign(lesion=name) for name in ("anterior", "posterior")], ignore_index=True)
    chosen = (classes["lesion"] == "anterior") & (classes["fold"] == 0) & (classes["seed"] == 1)
    (warning,) = never_marked(replace(scores, classes=emptied(classes, chosen)))
    assert warning == (
        "anterior: marked in no test case by 2 of 8 training runs: by all losses in fold 0, seed 1, "
        "so not the loss is the cause, but the start or too short a training"
    )


def test_the_warning_is_among_those_of_a_comparison(tmp_path):
    made = Made(patients=6, losses=("dice", "dice_ce"), empty=tuple(("dice", patient) for patient in range(6)))
    results = ll.load(make_run(tmp_path / "run", made))
    assert any("marked in no test case by 4 of 8 training runs" in each for each in compare(results).warnings)
