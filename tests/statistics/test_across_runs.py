"""Several runs together: a random-effects mean of their differences, and the Friedman test on their ranks."""

import numpy as np
import pytest
from scipy import optimize, stats

from known import known
from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics import compare_losses
from lesionloss.statistics.across_runs import across_runs, random_effects
from made_scores import made_scores


def run(number, shifts, seeds=2):
    draw = numpy_generator("run", number)
    base = 0.6 + 0.1 * draw.normal(size=(20, 1))
    tables = {loss: base + shift + 0.02 * draw.normal(size=(20, seeds)) for loss, shift in shifts.items()}
    return compare_losses(made_scores(tables))


def test_runs_that_agree_are_weighted_by_their_errors_alone():
    """By hand: weights 1/4 and 1; mean (0.25 * 0 + 1 * 1) / 1.25, Q = 0.2 < 1: no variance between runs."""
    mean, error, between = random_effects(np.array([0.0, 1.0]), np.array([2.0, 1.0]))
    assert (mean, between) == pytest.approx((0.8, 0.0))
    assert error == pytest.approx(1.25**-0.5)  # not narrower than without Hartung and Knapp's correction


def test_runs_that_disagree_have_the_variance_between_them_that_explains_their_spread():
    """With equal errors the moment equation has one root, found here by search; the error is that of the plain mean."""
    means, errors = np.array([0.1, 0.5, -0.2, 0.9]), np.full(4, 0.1)
    mean, error, between = random_effects(means, errors)
    root = optimize.brentq(lambda t: ((means - means.mean()) ** 2 / (0.01 + t)).sum() - 3, 0, 10)
    assert between == pytest.approx(root)
    assert (mean, error) == pytest.approx((means.mean(), stats.sem(means)))


def test_several_runs_pool_the_difference_of_every_loss_and_correct_over_the_losses():
    shifts = [{"a": 0.0, "b": 0.05 + wave, "c": 0.0} for wave in (0.0, 0.01, 0.02, 0.03)]
    comparisons = [run(n, shift) for n, shift in enumerate(shifts)]
    found = known(across_runs(comparisons))
    b, c = found.differences
    assert (b.loss, b.runs, found.runs) == ("b", 4, 4)
    assert b.interval.low < 0.065 < b.interval.high
    assert c.interval.low < 0 < c.interval.high
    assert known(b.p_holm) == pytest.approx(2 * b.p)
    assert b.p < 0.01


def test_ranks_of_runs_have_friedmans_test_and_the_critical_difference_of_demsar():
    orders = [{"a": 0.0, "b": 0.2, "c": 0.1, "d": 0.3}] * 4 + [{"a": 0.2, "b": 0.0, "c": 0.1, "d": 0.3}]
    ranks = known(known(across_runs([run(n, order) for n, order in enumerate(orders)])).ranks)
    assert ranks.mean_ranks == pytest.approx([(4 * 4 + 2) / 5, (4 * 2 + 4) / 5, 3.0, 1.0])
    chi = 12 * 5 / (4 * 5) * (np.square(ranks.mean_ranks).sum() - 4 * 25 / 4)
    f = 4 * chi / (5 * 3 - chi)
    assert ranks.p == pytest.approx(stats.f.sf(f, 3, 12))
    assert ranks.critical_difference == pytest.approx(2.569 * (4 * 5 / (6 * 5)) ** 0.5, abs=0.002)  # Demsar, table 5


def test_one_seed_one_run_or_another_baseline_pool_nothing():
    two = [run(n, {"a": 0.0, "b": 0.1}) for n in range(2)]
    assert across_runs(two[:1]) is None
    assert across_runs([two[0], run(1, {"b": 0.0, "a": 0.1})]) is None
    assert known(across_runs(two)).ranks is None  # two losses
    assert known(across_runs([run(n, {"a": 0.0, "b": 0.1}, seeds=1) for n in range(2)])).differences == ()
