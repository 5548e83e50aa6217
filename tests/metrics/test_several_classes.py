"""Several classes, and summaries over cases: every mean comes with its number."""

import math

import numpy as np
import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.metrics import Case, CaseStatus, choose
from lesionloss.metrics.averages import MetricValue, count_cases, summarise, value_of
from lesionloss.metrics.several_classes import class_cases, class_mean, mdice, miou, score_classes

PRED = np.array([[0, 1, 1, 2], [0, 1, 0, 2]])
REF = np.array([[0, 1, 1, 2], [0, 0, 0, 0]])


def cases(classes=(1, 2, 3)):
    return class_cases(PRED, REF, spacing_mm=(1, 1), classes=classes)


def test_per_class_and_averaged():
    got = score_classes(cases(), ["dice", "jaccard"])
    assert got[1] == pytest.approx({"dice": 4 / 5, "jaccard": 2 / 3})
    assert got[2] == pytest.approx({"dice": 2 / 3, "jaccard": 1 / 2})
    assert math.isnan(got[3]["dice"])
    assert mdice(cases()).value == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert miou(cases()).value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (mdice(cases()).n, mdice(cases()).of) == (2, 3)


def test_classes_have_the_weights_that_are_given():
    assert mdice(cases(), (3, 1, 9)).value == pytest.approx((3 * 4 / 5 + 2 / 3) / 4)  # class 3 is defined nowhere
    assert (mdice(cases(), (0, 1, 1)).value, mdice(cases(), (0, 1, 1)).n) == (pytest.approx(2 / 3), 1)
    assert miou(cases((1, 2)), (1, 1)).value == miou(cases((1, 2))).value
    for weights in ((1, 2), (1, 2, -1), (0, 0, 0), (1, 2, math.inf)):
        with pytest.raises(UsageError, match="one weight of 0 or more for each of 3 classes"):
            mdice(cases(), weights)


def test_means_over_no_class_or_a_missed_class():
    assert math.isnan(class_mean(cases((3,)), "dice").value)
    assert class_mean(cases((3,)), "dice").n == 0
    missed = class_cases(PRED * (PRED == 1), REF, spacing_mm=(1, 1), classes=(1, 2))
    assert class_mean(missed, "hd95").value == math.inf


def test_label_maps_are_integers():
    with pytest.raises(DataError, match="expected integer labels, got dtype float64"):
        class_cases(PRED * 1.0, REF, spacing_mm=(1, 1), classes=(1,))


LESION = np.zeros((30, 40), dtype=bool)
LESION[10:14, 10:14] = True
NOTHING = np.zeros_like(LESION)
SHIFTED = np.roll(LESION, 2, axis=0)


def summary(name, *pairs):
    return summarise([value_of(choose(name), Case(pred, ref, spacing_mm=(1, 1))) for pred, ref in pairs])


ALL_KINDS = ((LESION, LESION), (SHIFTED, LESION), (NOTHING, LESION), (LESION, NOTHING), (NOTHING, NOTHING))


def test_missed_cases_count_and_false_positive_cases_are_counted_separately():
    dice = summary("dice", *ALL_KINDS)
    assert (dice.n, dice.n_defined, dice.n_penalised) == (5, 3, 4)
    assert dice.mean == pytest.approx((1 + 0.5 + 0) / 3)
    assert dice.median == 0.5
    assert dice.penalised_mean == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert (dice.missed_cases, dice.false_positive_cases, dice.correctly_empty_cases) == (1, 1, 1)


def test_an_infinite_distance_is_shown_twice():
    hd = summary("hd", *ALL_KINDS)
    assert (hd.n, hd.n_defined, hd.n_penalised) == (5, 2, 4)
    assert hd.mean == pytest.approx((0 + 2) / 2)
    assert hd.penalised_mean == pytest.approx((0 + 2 + 50 + 50) / 4)


def test_a_metric_that_is_defined_in_every_case_keeps_every_case():
    volume = summary("volume_mm3", *ALL_KINDS)
    assert volume.n_defined == 5
    assert volume.mean == pytest.approx(3 * 16 / 5)


def test_nothing_defined():
    nothing = summary("dice", (NOTHING, NOTHING))
    assert nothing.n_defined == nothing.n_penalised == 0
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.median)
    assert math.isnan(nothing.penalised_mean)


def test_quartiles_are_interpolated_over_the_headline_cases():
    values = [MetricValue(raw, raw, CaseStatus.OK, True) for raw in (3.0, 0.0, 2.0, 1.0)]
    found = summarise([*values, MetricValue(90.0, math.nan, CaseStatus.REF_EMPTY, False)])
    assert (found.lower_quartile, found.median, found.upper_quartile, found.mean) == (0.75, 1.5, 2.25, 1.5)
    assert (found.n, found.n_defined, found.n_penalised, found.false_positive_cases) == (5, 4, 4, 1)


def test_specificity_is_over_the_cases_without_a_lesion():
    statuses = [CaseStatus.PRED_EMPTY, CaseStatus.REF_EMPTY, CaseStatus.BOTH_EMPTY, CaseStatus.BOTH_EMPTY]
    counts = count_cases([*statuses, CaseStatus.OK])
    assert (counts.n, counts.missed, counts.false_positive, counts.correctly_empty) == (5, 1, 1, 2)
    assert (counts.without_lesion, counts.specificity) == (3, 2 / 3)
    assert math.isnan(count_cases([CaseStatus.OK]).specificity)
