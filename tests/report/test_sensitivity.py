"""Whether the verdict depends on the policy for empty cases and on the threshold."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics.thresholds import ThresholdCounts
from lesionloss.report.probability_maps import THRESHOLDS, CalibrationCounts, MapCounts
from lesionloss.report.sensitivity import other_policies, other_thresholds, sensitivity_sentence
from made_scores import made_scores

NO_BINS = CalibrationCounts(np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0))


def scores_with(loss_b):
    """Dice of 20 patients in 5 folds, 2 seeds; b is `loss_b` above a."""
    a = 0.6 + 0.01 * numpy_generator("a").normal(size=(20, 2))
    return made_scores({"a": a, "b": a + loss_b + 0.001 * numpy_generator("b").normal(size=(20, 2))})


def missed(scores, loss, patients):
    """The loss predicts nothing for the first patients, which counts with 0."""
    hit = (scores.rows["loss"] == loss) & scores.rows["patient"].isin([f"patient{n:02d}" for n in range(patients)])
    rows = scores.rows
    status = rows["status"].mask(hit, "pred_empty")
    return replace(scores, rows=rows.assign(penalised=rows["penalised"].mask(hit, 0.0), status=status))


def test_a_verdict_that_hangs_on_empty_predictions_is_named():
    scores = missed(scores_with(0.05), "b", 5)
    assert sensitivity_sentence(scores) == (
        "The verdicts are not the same under both policies for empty cases: "
        "b is better if empty predictions are left out."
    )
    (left_out,) = other_policies(scores).values()
    kept = left_out.comparable.query("loss == 'b'")["penalised"].dropna()
    assert len(kept) == 2 * (20 - 5)


def test_cases_without_lesions_count_as_one_if_the_prediction_is_empty_and_as_zero_if_not():
    scores = missed(scores_with(0.05), "b", 0)
    rows = scores.rows.iloc[:4].assign(patient="new", case="new", penalised=np.nan)
    healthy = rows.assign(status=["both_empty", "ref_empty", "both_empty", "both_empty"])
    scores = replace(scores, without_lesions=healthy)
    (counted,) = other_policies(scores).values()
    assert counted.rows["penalised"].tolist()[-4:] == [1.0, 0.0, 1.0, 1.0]
    assert sensitivity_sentence(scores) == "The verdicts are the same under both policies for empty cases."


def test_nothing_is_said_where_no_mask_is_empty_or_where_there_is_no_verdict():
    assert sensitivity_sentence(scores_with(0.05)) == ""
    one = made_scores({"a": np.full((8, 1), 0.5), "b": np.full((8, 1), 0.6)})
    assert sensitivity_sentence(missed(one, "b", 2)) == ""


def maps_of(scores, shift):
    """Counts whose Dice is the stored one at .5, and for b changes by `shift` at every other threshold."""
    found = []
    for row in scores.rows.itertuples():
        dice = np.where(np.isclose(THRESHOLDS, 0.5), row.value, row.value + (shift if row.loss == "b" else 0.0))
        tp = np.round(dice * 10**6).astype(int)
        errors = 2 * (10**6 - tp)
        counts = ThresholdCounts(THRESHOLDS, tp, errors, np.zeros_like(tp))
        found.append(MapCounts(row.loss, row.case, row.seed, 1, counts, NO_BINS, np.zeros(0, dtype=np.float32)))
    return found


def test_thresholds_around_the_chosen_one_are_tried():
    scores = scores_with(0.05)
    same = sensitivity_sentence(scores, maps_of(scores, 0.0))
    assert same == "The verdicts are the same at thresholds from .30 to .70."
    text = sensitivity_sentence(scores, maps_of(scores, -0.1))
    start = "The verdicts are not the same at thresholds from .30 to .70: b is worse at .30, at .35, at .40"
    assert text.startswith(start)
    assert len(other_thresholds(scores, maps_of(scores, 0.0))) == 8


@pytest.mark.parametrize("change", ["repeats", "one map missing", "another mask"])
def test_thresholds_are_left_out_where_the_maps_do_not_hold_the_scores(change):
    scores = scores_with(0.05)
    maps = maps_of(scores, 0.0)
    if change == "repeats":
        scores = replace(scores, rules=replace(scores.rules, repeats=2))
    if change == "one map missing":
        maps = maps[1:]
    if change == "another mask":
        scores = replace(scores, rows=scores.rows.assign(value=scores.rows["value"] + 0.01))
    assert other_thresholds(scores, maps) == {}
    assert isinstance(scores.rows, pd.DataFrame)
