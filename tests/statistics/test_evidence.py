"""Intervals, tests, effect sizes and corrections on plain arrays, compared with scipy and with numbers by hand."""

import numpy as np
import pytest
from scipy import stats

from known import known
from lesionloss.core.randomness import numpy_generator
from lesionloss.statistics.evidence import (
    attained_level,
    coefficient_of_variation,
    holm,
    mean_interval,
    rank_biserial,
    rank_sum_p,
    sign_flip_p,
    signed_rank_p,
    smallest_p,
)


def test_the_interval_of_a_symmetric_sample_is_close_to_that_of_t():
    values = stats.norm.ppf((np.arange(20) + 0.5) / 20)
    found = known(mean_interval(values))
    half = stats.t.ppf(0.975, 19) * stats.sem(values)
    assert found.high == pytest.approx(half, rel=0.04)
    assert found.low == pytest.approx(-half, rel=0.04)


def test_few_patients_get_the_interval_of_t_and_one_patient_gets_none():
    for few in ([], [0.4]):
        assert mean_interval(np.array(few)) is None
    values = np.array([0.1, 0.3, 0.2, 0.5])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    found = known(mean_interval(values))
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("n", [6, 8, 13, 14, 30])
def test_the_interval_holds_exactly_the_means_that_the_test_does_not_reject(n):
    values = numpy_generator("inversion", n).gamma(2.0, size=n)
    found = known(mean_interval(values))
    step = 1e-6
    for inside in (found.low + step, found.high - step, values.mean()):
        assert known(sign_flip_p(values - inside)) >= 0.05
    for outside in (found.low - step, found.high + step):
        assert known(sign_flip_p(values - outside)) < 0.05


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_the_sign_flip_test_is_scipys_permutation_test(n):
    values = numpy_generator("flips", n).normal(0.4, 1.0, size=n)
    by_scipy = stats.permutation_test(
        [values], lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=100_000
    )
    assert sign_flip_p(values) == pytest.approx(by_scipy.pvalue)


def test_beyond_thirteen_patients_the_drawn_signs_are_close_to_all_of_them():
    values = numpy_generator("many").normal(0.45, 1.0, size=16)
    signs = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-9)
    assert sign_flip_p(values) == pytest.approx(exact, abs=0.006)


def test_the_level_that_few_patients_can_attain():
    assert attained_level(5) == 0
    assert attained_level(6) == pytest.approx(2 / 64)
    assert attained_level(8) == pytest.approx(6 / 128)
    assert attained_level(8, 0.05 / 4) == pytest.approx(1 / 128)
    assert 0.049 < attained_level(40) < 0.05


def test_effect_sizes_by_hand():
    assert rank_biserial(np.array([1.0, -2.0, 3.0])) == pytest.approx((1 - 2 + 3) / 6)
    assert rank_biserial(np.array([1.0, -2.0, 3.0, 0.0])) == pytest.approx((2 - 3 + 4) / 10)
    assert rank_biserial(np.array([1.0, 2.0])) == 1
    assert rank_biserial(np.zeros(3)) == 0
    assert rank_biserial(np.zeros(0)) is None
    assert coefficient_of_variation(np.array([1.0, 3.0])) == pytest.approx(np.sqrt(2) / 2)
    assert coefficient_of_variation(np.array([1.0])) is None


def test_the_unpaired_test_is_scipys_and_misses_what_pairing_shows():
    patients = np.linspace(0.2, 0.9, 12)
    better = patients + 0.02 + 0.001 * np.arange(12)
    assert rank_sum_p(better, patients) == pytest.approx(stats.mannwhitneyu(better, patients).pvalue)
    assert known(rank_sum_p(better, patients)) > 0.5
    assert known(sign_flip_p(better - patients)) < 0.001


def test_holm_keeps_the_error_of_the_family_where_single_tests_do_not():
    draw = numpy_generator("family")
    ps = [{str(n): signed_rank_p(row) for n, row in enumerate(draw.normal(size=(4, 10)))} for _ in range(250)]
    single = np.mean([min(map(known, family.values())) < 0.05 for family in ps])
    corrected = np.mean([min(map(known, holm(family).values())) < 0.05 for family in ps])
    assert single > 0.10
    assert corrected < 0.08


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None}) == {
        "a": pytest.approx(0.03),
        "b": pytest.approx(0.06),
        "c": pytest.approx(0.06),
        "d": None,
    }


def test_the_smallest_p_is_what_scipy_gives_when_all_differ_on_one_side():
    for n in (3, 5, 8):
        assert signed_rank_p(np.arange(1.0, n + 1)) == pytest.approx(smallest_p(n))
    assert signed_rank_p(np.zeros(8)) == 1.0


@pytest.mark.parametrize("values", [[0.1, 0.1, -0.2, 0.3], [0.5, -0.5, 0.0, 0.25, 0.25, 0.25], [1, 1, 1, 1, 1, -1, 2]])
def test_ties_are_tested_as_scipy_tests_them(values):
    assert signed_rank_p(np.array(values, dtype=float)) == pytest.approx(stats.wilcoxon(values).pvalue)
