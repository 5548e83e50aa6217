"""Rankings, interquartile means, profiles and groups: other views of a metric, by hand."""

import numpy as np
import pytest
from scipy import stats

from known import known
from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics import rank_losses
from lesionloss.statistics.rankings import middle_mean, rankings
from made_scores import made_scores

# Loss a is best in 4 of 5 patients and fails in one: best by rank, then mean; not by mean, then rank.
BY_HAND = {
    "a": [0.80, 0.80, 0.80, 0.80, 0.00],
    "b": [0.70, 0.70, 0.70, 0.70, 0.70],
    "c": [0.60, 0.60, 0.60, 0.60, 0.70],
}


def of_patients(values, **options):
    """Two seeds around each patient's value."""
    return made_scores({loss: np.array(row)[:, None] + [-0.01, 0.01] for loss, row in values.items()}, **options)


def test_rank_then_mean_and_mean_then_rank_stand_side_by_side():
    found = known(rankings(of_patients(BY_HAND)))
    assert [each.mean for each in found.losses] == pytest.approx([0.64, 0.70, 0.62])
    assert [each.rank for each in found.losses] == [2, 1, 3]
    of_five = [4 * 1 + 3, 4 * 2 + 1.5, 4 * 3 + 1.5]
    assert [each.mean_rank for each in found.losses] == pytest.approx([total / 5 for total in of_five])
    assert [each.rank_of_ranks for each in found.losses] == [1, 2, 3]
    assert found.tau == pytest.approx(1 / 3)  # one of three pairs is in another order


def test_the_interquartile_mean_is_the_trimmed_mean_and_its_interval_draws_patients_within_folds():
    sample = numpy_generator("middle").normal(size=(3, 11))
    assert middle_mean(sample) == pytest.approx(stats.trim_mean(sample, 0.25, axis=1))
    found = known(rankings(of_patients(BY_HAND, folds=5)))
    a = found.losses[0]
    assert a.middle == pytest.approx(0.80)
    assert (a.middle_interval.low, a.middle_interval.high) == pytest.approx((0.80, 0.80))  # one patient in a fold
    wider = known(rankings(of_patients({loss: row * 4 for loss, row in BY_HAND.items()}, folds=2))).losses[0]
    assert wider.middle_interval.low < 0.79 < wider.middle_interval.high < 0.81


@pytest.mark.parametrize("metric", ["dice", "brier"])
def test_a_profile_is_the_share_of_patients_that_reach_a_score(metric):
    found = known(rankings(of_patients(BY_HAND, metric=metric)))
    ends = found.profiles[:, [0, -1]].tolist()
    assert ends == ([[1.0, 0.8], [1.0, 0.0], [1.0, 0.0]] if metric == "dice" else [[0.2, 1.0], [0.0, 1.0], [0.0, 1.0]])
    middle = int(np.flatnonzero(found.thresholds > 0.65)[0])
    assert found.profiles[:, middle].tolist() == pytest.approx([0.8, 1.0, 0.2] if metric == "dice" else [0.2, 0.0, 0.8])


def test_groups_join_neighbours_that_are_not_shown_to_differ_by_our_corrected_p():
    draw = numpy_generator("groups")
    base = 0.5 + 0.1 * draw.normal(size=(20, 1))
    shifts = {"a": 0.0, "b": 0.0005, "c": 0.1, "d": 0.1005, "e": 0.2}
    tables = {loss: base + shift + 0.005 * draw.normal(size=(20, 2)) for loss, shift in shifts.items()}
    scores = made_scores(tables)
    found = known(rankings(scores))
    assert [set(group) for group in found.groups] == [{"c", "d"}, {"a", "b"}]
    verdicts = {(pair.loss, pair.other): pair.verdict for pair in found.pairs}
    assert (verdicts["a", "b"], verdicts["a", "c"], verdicts["c", "e"]) == ("undecided", "worse", "worse")
    for rank in rank_losses(scores):
        beaten = sum((pair.loss, pair.verdict) == (rank.loss, "better") for pair in found.pairs)
        beaten += sum((pair.other, pair.verdict) == (rank.loss, "worse") for pair in found.pairs)
        assert rank.high == 5 - beaten


def test_without_verdicts_all_losses_are_one_group_and_two_losses_have_no_view():
    one_seed = made_scores({loss: np.array(row)[:, None] for loss, row in BY_HAND.items()})
    found = known(rankings(one_seed))
    assert found.groups == (("a", "b", "c"),)
    assert {pair.verdict for pair in found.pairs} == {"no verdict"}
    assert rankings(of_patients({"a": BY_HAND["a"], "b": BY_HAND["b"]})) is None
