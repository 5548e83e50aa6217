"""Names and options of metrics, empty cases, penalties."""

import math
import re

import numpy as np
import pytest

from lesionloss.core.errors import UsageError
from lesionloss.metrics import (
    Case,
    CaseStatus,
    EmptyValues,
    choose,
    list_metrics,
    metric,
    metric_docs,
    penalised,
    score,
)
from lesionloss.metrics.metric_options import MEANINGS, option_parameters
from lesionloss.metrics.metric_registry import Better, forget

LESION = np.zeros((240, 240, 155), dtype=bool)
LESION[10:14, 10:14, 10:14] = True
NOTHING = np.zeros_like(LESION)


def case(pred, ref):
    return Case(pred, ref, spacing_mm=(1, 1, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dise", "no metric is named 'dise'; did you mean 'dice'"),
        ("lesion_f1(conectivity=6)", "no option 'conectivity'; did you mean 'connectivity'"),
        ("lesion_f1(connectivity='6')", "metric lesion_f1: connectivity must be 6, 18 or 26; got '6'"),
        ("lesion_f1(connectivity=[6])", "connectivity must be 6, 18 or 26; got [6]"),
        ("lesion_f1(connectivity=__import__('os'))", "must be a plain number or word"),
        ("lesion_f1(released_bound=1)", "released_bound must be True or False; got 1"),
        ("hd(percent=200)", "metric hd: percent must be a number from 0 to 100; got 200"),
        ("hd(percent=1e999)", "got inf"),
        ("nsd(tolerance_mm=-1)", "tolerance_mm must be a number >= 0; got -1"),
        ("lesion_f1(covered=10)", "covered must be a number from 0 to 1; got 10"),
        ("lesion_f1(connectivity=8)", "connectivity must be 6, 18 or 26; got 8"),
        ("lesion_f1(min_voxels=2.5)", "min_voxels must be a whole number >= 1; got 2.5"),
        ("lesion_f1(min_volume_mm3=1e999)", "got inf"),
        ("ece(bins=0)", "bins must be a whole number from 1 to 100000; got 0"),
        ("nll(eps=0)", "eps must be a number from 1e-300 to 0.5; got 0"),
        ("hd95(both_empty=0)", "metric hd95 has no option 'both_empty'; known: voxels"),
        ("dice(both_empty=2)", "both_empty must be a number from 0 to 1; got 2"),
        ("lesion_f1(6)", "metric 'lesion_f1(6)' can't be read: the values of lesion_f1 have no names"),
        ("lesion_f1(**{})", "** is not allowed"),
        ("lesion f1", "write NAME or NAME(key=value, ...)"),
        ("a.b", "write NAME or NAME(key=value, ...)"),
        ("", "write NAME or NAME(key=value, ...)"),
    ],
)
def test_mistakes_are_explained(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        score(case(LESION, LESION), [text])


def test_a_text_instead_of_a_list():
    with pytest.raises(UsageError, match=r"write \['dice'\]"):
        score(case(LESION, LESION), "dice")


def test_options_are_literals_and_defaults_stay():
    chosen = choose("lesion_f1(connectivity=26, outside=0.8)")
    assert chosen.options["connectivity"] == 26
    assert chosen.options["outside"] == 0.8
    assert chosen.options["covered"] == 0.10


def test_whole_numbers_may_be_written_as_others():
    assert choose("lesion_f1(connectivity=18.0, min_voxels=3.0)").options["min_voxels"] == 3
    probable = Case(LESION[:9, :9, :9] * 0.3, LESION[:9, :9, :9], spacing_mm=(1, 1, 1))
    assert score(probable, ["ece(bins=4.0)"]) == {"ece(bins=4.0)": score(probable, ["ece(bins=4)"])["ece(bins=4)"]}


def test_every_built_in_option_has_limits_and_is_used():
    used = {name for record in list_metrics() for name in record.options}
    assert used | {"both_empty"} == set(MEANINGS)
    for record in list_metrics():
        for name, option in option_parameters(record.options).items():
            if record.options[name] is not None:
                option.check(record.options[name], record.name)


def test_both_empty_counts_where_it_is_given():
    nothing, marked = case(NOTHING, NOTHING), case(LESION, NOTHING)
    chosen = choose("dice(both_empty=1)")
    assert (chosen.value(nothing), chosen.value(marked), chosen.value(case(NOTHING, LESION))) == (1.0, 0.0, 0.0)
    assert chosen.in_headline(1.0, CaseStatus.BOTH_EMPTY)
    assert not chosen.in_headline(0.0, CaseStatus.REF_EMPTY)
    assert not choose("dice").in_headline(1.0, CaseStatus.BOTH_EMPTY)
    can = {record.name for record in list_metrics() if record.can_count_empty}
    assert {"dice", "jaccard", "nsd", "lesion_f1", "precision", "recall"} <= can
    assert not can & {"hd95", "assd", "specificity", "volume_mm3", "relative_volume_difference"}


@pytest.mark.parametrize("record", list_metrics(), ids=lambda record: record.name)
def test_every_metric_says_its_formula(record):
    assert metric_docs.formula(record).endswith(".")
    assert f"## {record.name}\n" in metric_docs.markdown()


def test_the_penalised_distance_of_a_missed_case_is_the_diagonal_of_the_image():
    missed = case(NOTHING, LESION)
    assert penalised("hd95", score(missed, ["hd95"])["hd95"], missed) == pytest.approx(373.13, abs=5e-3)
    assert penalised("dice", 0.0, missed) == 0.0
    assert math.isnan(score(missed, ["precision"])["precision"])
    assert penalised("precision", math.nan, missed) == 0.0
    assert penalised("hd95", 3.5, case(LESION, LESION)) == 3.5


def test_a_case_without_a_lesion_is_not_missed():
    nothing = case(NOTHING, NOTHING)
    assert math.isnan(penalised("hd95", score(nothing, ["hd95"])["hd95"], nothing))
    assert math.isnan(penalised("dice", score(nothing, ["dice"])["dice"], nothing))


def register_half(name="half"):
    @metric(name, title="Half", unit="", direction=Better.HIGHER, source="test", empty=EmptyValues(None, 1.0, 2.0))
    def half(one, *, of=1.0):
        return of / 2


def test_own_metrics_and_clashes():
    register_half()
    try:
        assert score(case(LESION, LESION), ["half", "half(of=3)"]) == {"half": 0.5, "half(of=3)": 1.5}
        assert score(case(NOTHING, LESION), ["half"]) == {"half": 0.5}
        assert score(case(LESION, NOTHING), ["half"]) == {"half": 1.0}
        assert score(case(NOTHING, NOTHING), ["half"]) == {"half": 2.0}
        register_half()  # a notebook cell may run again
        with pytest.raises(UsageError, match="'half' exists already"):

            @metric("half", title="", unit="", direction=Better.HIGHER, source="", empty=EmptyValues(None, None, None))
            def another(one):
                return 1.0

    finally:
        forget("half")
    assert "half" not in [record.name for record in list_metrics()]


def test_an_option_needs_a_default():
    with pytest.raises(UsageError, match="'of' has no default"):

        @metric(
            "no_default", title="", unit="", direction=Better.HIGHER, source="", empty=EmptyValues(None, None, None)
        )
        def no_default(one, of):
            return of
