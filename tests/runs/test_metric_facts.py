import math

from lesionloss.runs.metric_facts import metric_facts


def test_a_metric_is_read_as_its_registry_says():
    assert metric_facts("hd95").lower_is_better
    assert metric_facts("nsd(tolerance_mm=2)").zero_if_empty
    assert not metric_facts("brier").needs_lesions
    assert metric_facts("volume_difference_mm3").signed
    assert not metric_facts("volume_mm3").has_direction
    assert metric_facts("of_my_own").title == "of my own"
    assert not metric_facts("of_my_own").lower_is_better


def test_a_title_names_the_options_that_were_given():
    assert metric_facts("nsd").title == "Surface Dice"
    assert metric_facts("nsd(tolerance_mm=2)").title == "Surface Dice (tolerance_mm=2)"


def test_a_score_beyond_either_limit_is_impossible():
    facts = metric_facts("dice")
    assert [facts.possible(value) for value in (-0.01, 0.0, 0.5, 1.0, 1.01, math.nan)] == [
        False,
        *[True] * 3,
        False,
        True,
    ]
    assert all(metric_facts("of_my_own").possible(value) for value in (-1e300, math.inf, -math.inf))
