"""The rules for empty masks, undefined and infinite values, on tables that are counted by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionloss.core.errors import DataError
from lesionloss.runs.metric_facts import MetricFacts, metric_facts
from lesionloss.runs.metric_scores import DeclaredRules, MetricScores, patient_values, per_patient, split_rows
from lesionloss.runs.run_records import CohortCase
from lesionloss.runs.scores import COLUMNS, LAST_EPOCH, read_scores

INF, NAN = math.inf, math.nan


def table(*rows: tuple, unit: str = "", epoch: int = LAST_EPOCH) -> pd.DataFrame:
    """Rows of case, value, status, and perhaps another lesion, trial, or epoch."""
    names = ("case", "value", "status", "lesion", "key", "epoch")
    defaults = {"lesion": "", "key": "one", "epoch": epoch, "unit": unit}
    return pd.DataFrame([defaults | dict(zip(names, row, strict=False)) for row in rows])


def cohort_of(*names: str) -> list[CohortCase]:
    """Cases of 3 x 4 x 12 mm, whose diagonal is 13 mm."""
    return [CohortCase(name, name, (3, 4, 12), (1.0, 1.0, 1.0), 0.0) for name in names]


def scores_of(rows: pd.DataFrame, facts: MetricFacts) -> MetricScores:
    """Scores that hold these rows."""
    rules = DeclaredRules("sign_flip", "frequentist", 0.0, True, "dice", 2, 4, 2, 1)
    nothing = (), frozenset[str](), "dice", rules, None, (), (), (), Path()
    return MetricScores(facts, rows, rows[:0], rows[:0], *nothing)


def test_only_the_last_epoch_of_each_trial_counts():
    rows = table(("a", 0.1, "ok", "", "one", 5), ("a", 0.2, "ok", "", "one", 7), ("a", 0.3, "ok", "", "two", 5))
    found, _, _ = split_rows(rows, metric_facts("dice"), cohort_of("a"))
    assert found["value"].tolist() == [0.2, 0.3]


def test_lesions_classes_and_the_whole_image_are_told_apart():
    rows = table(
        ("a", 0.1, "ok", ""), ("a", 0.2, "ok", "all"), ("a", 0.3, "ok", "1"), ("a", 0.4, "ok", "core"), ("b", 1, "ok")
    )
    found, _, classes = split_rows(rows, metric_facts("dice"), cohort_of("a", "b"))
    assert found["value"].tolist() == [0.1, 0.2, 1]
    assert classes["value"].tolist() == [0.4]


def test_empty_references_leave_metrics_that_need_lesions_only():
    rows = table(("a", 0.5, "ok"), ("b", 0.0, "ref_empty"), ("c", NAN, "both_empty"), ("d", 0.0, "pred_empty"))
    found, without, _ = split_rows(rows, metric_facts("dice"), cohort_of(*"abcd"))
    assert found["case"].tolist() == ["a", "d"]
    assert found.index.tolist() == [0, 1]
    assert [*found.columns] == [*rows.columns, "penalised"]
    assert without["case"].tolist() == ["b", "c"]
    found, without, _ = split_rows(rows, metric_facts("brier"), cohort_of(*"abcd"))
    assert found["case"].tolist() == ["a", "b", "c", "d"]
    assert without["case"].tolist() == ["b", "c"]


def test_infinite_distances_become_the_diagonal_in_mm():
    rows = table(("a", INF, "pred_empty"), ("b", 2.0, "ok"), unit="mm")
    found, _, _ = split_rows(rows, metric_facts("hd95"), cohort_of("a", "b"))
    assert found["penalised"].tolist() == [13.0, 2.0]
    assert found["value"].tolist() == [INF, 2.0]
    other, _, _ = split_rows(rows.assign(unit=""), metric_facts("hd95"), cohort_of("a", "b"))
    assert np.isnan(other["penalised"][0])
    assert other["penalised"][1] == 2.0


def test_an_undefined_score_of_an_empty_prediction_becomes_0_where_0_is_the_worst():
    rows = table(("a", NAN, "pred_empty"), ("b", NAN, "ok"), ("c", 0.5, "pred_empty"))
    found, _, _ = split_rows(rows, metric_facts("precision"), cohort_of(*"abc"))
    assert found["penalised"].fillna(-1).tolist() == [0.0, -1, 0.5]
    found, _, _ = split_rows(rows, metric_facts("volume_mm3"), cohort_of(*"abc"))
    assert found["penalised"].fillna(-1).tolist() == [-1, -1, 0.5]


def test_a_patient_has_the_mean_of_its_cases_and_a_case_that_of_its_seeds():
    rows = pd.DataFrame(
        [("p", "p1", 0.2), ("p", "p1", 0.4), ("p", "p1", INF), ("p", "p2", 0.9), ("q", "q1", NAN)],
        columns=["patient", "case", "value"],
    )
    assert per_patient(rows).to_dict() == pytest.approx({"p": 0.6})
    assert patient_values(rows.assign(other=rows["value"] * 10), "other").tolist() == pytest.approx([6])


def test_the_rows_of_one_loss():
    rows = table(("a", 0.2, "ok"), ("b", 0.4, "ok")).assign(loss=["dice", "focal"])
    assert scores_of(rows, metric_facts("dice")).of_loss("focal")["case"].tolist() == ["b"]


def test_cases_are_ordered_from_the_worst_mean():
    rows = table(("a", 0.2, "ok"), ("b", 0.4, "ok"), ("b", 0.8, "ok", "", "two"), ("c", -0.5, "ok"), ("d", NAN, "ok"))
    rows = rows.assign(penalised=rows["value"])
    facts = MetricFacts("x", "X", lower_is_better=False)
    scores = scores_of(rows, facts)
    assert scores.case_means == pytest.approx({"a": 0.2, "b": 0.6, "c": -0.5})
    assert scores.worst_first == ("c", "a", "b")
    assert scores_of(rows, replace(facts, lower_is_better=True)).worst_first == ("b", "a", "c")
    assert scores_of(rows, replace(facts, signed=True)).worst_first == ("b", "c", "a")
    assert scores.comparable["penalised"].tolist()[3] == -0.5
    assert scores_of(rows, replace(facts, signed=True)).comparable["penalised"].tolist()[3] == 0.5
    assert (scores.value("two", "b"), scores.value("one", "b")) == (0.8, 0.4)
    assert math.isnan(scores.value("two", "a"))


@pytest.mark.parametrize(
    ("metric", "lower", "needs", "signed", "directed", "zero", "direction"),
    [
        ("dice", False, True, False, True, True, "higher"),
        ("hd95", True, True, False, True, False, "lower"),
        ("brier", True, False, False, True, False, "lower"),
        ("volume_difference_mm3", True, False, True, True, False, "nearer 0"),
        ("volume_mm3", False, False, False, False, False, "higher"),
        ("of_my_own", False, True, False, True, False, "higher"),
    ],
)
def test_every_fact_of_a_metric(metric, lower, needs, signed, directed, zero, direction):
    facts = metric_facts(metric)
    found = (facts.lower_is_better, facts.needs_lesions, facts.signed, facts.has_direction, facts.zero_if_empty)
    assert found == (lower, needs, signed, directed, zero)
    assert facts.direction == direction


def test_badness_is_larger_for_worse_values():
    higher = MetricFacts("x", "X", lower_is_better=False)
    assert [higher.badness(value) for value in (0.25, -2)] == [-0.25, 2]
    assert [replace(higher, lower_is_better=True).badness(value) for value in (0.25, -2)] == [0.25, -2]
    assert [replace(higher, signed=True).badness(value) for value in (0.25, -2)] == [0.25, 2]


def scores_file(folder: Path, *rows: str) -> Path:
    """A scores.csv of rows "epoch,case,metric,value,patient"."""
    lines = [",".join(COLUMNS)]
    for row in rows:
        epoch, case, metric, value, patient = row.split(",")
        lines.append(f"dice,d,0,1,{epoch},test,{case},,{metric},{value},,{patient},ok")
    path = folder / "scores.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_scores_are_typed(tmp_path):
    rows = ("3000000,a,dice,0.5,p", ",a,hd95,inf,p", "last,a,dice,nan,p", "last,b,dice,,")
    read = read_scores(scores_file(tmp_path, *rows))
    assert read["epoch"].tolist() == [3_000_000, 0, LAST_EPOCH, LAST_EPOCH]
    assert LAST_EPOCH > 3_000_000
    assert read["value"].fillna(-1).tolist() == [0.5, INF, -1, -1]
    assert read["patient"].tolist() == ["p", "p", "p", "b"]
    assert read_scores(None).empty


def test_a_wrong_value_is_named_with_its_line(tmp_path):
    path = scores_file(tmp_path, "last,a,dice,0.5,p", "soon,b,dice,0.5,p")
    with pytest.raises(DataError, match=r"line 3: expected an epoch as a whole number or `last`, got 'soon'"):
        read_scores(path)


def test_every_test_case_has_every_metric_at_the_last_epoch(tmp_path):
    rows = ["last,a,dice,0.5,p", "last,a,hd95,3,p", "last,b,dice,0.5,q", "1,b,hd95,3,q"]
    with pytest.raises(DataError, match=r"no row of test case b for hd95: it is incomplete"):
        read_scores(scores_file(tmp_path, *rows), ["a", "b"])
    assert len(read_scores(scores_file(tmp_path, *rows), ["a"])) == 4
    assert len(read_scores(scores_file(tmp_path, *rows[:3], "last,b,hd95,3,q"), ["a", "b"])) == 4
    with pytest.raises(DataError, match=r"no row of test case c: it is incomplete"):
        read_scores(scores_file(tmp_path), ["c"])


def test_a_missed_case_costs_the_diagonal_in_the_unit_of_the_metric():
    cases = [CohortCase("a", "a", (3, 4, 12), (2.0, 2.0, 2.0), 0.0)]
    for unit, diagonal in (("mm", 26.0), ("voxels", 13.0)):
        found, _, _ = split_rows(table(("a", INF, "pred_empty"), unit=unit), metric_facts("hd95"), cases)
        assert found["penalised"].tolist() == [diagonal]
