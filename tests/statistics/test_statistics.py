import numpy as np
import pytest
from scipy import stats

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import numpy_generator
from lesionloss.report.wording import difference_sentence
from lesionloss.runs.values import facts, headline_rows, patient_values
from lesionloss.statistics import best_loss, compare, paired_rows, summarise
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
from make_run import DIFFERENCE_THRESHOLD, Made, make_run

SMALL = Made(
    patients=6,
    losses=("dice_ce", "dice"),
    difference=False,
    shape=(24, 28, 8),
    spacing_mm=(4.0, 4.0, 6.0),
    radius=(0.2, 0.4),
)


def small(**changes):
    return Made(**{**SMALL.__dict__, **changes})


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """Six patients, one without lesions, one missed by dice; a failed trial; the method without a network."""
    made = small(without_lesions=(4,), empty=(("dice", 1),), failed=(("dice", 0, 2),), difference=True)
    return ll.load(make_run(tmp_path_factory.mktemp("messy") / "run", made))


def test_the_interval_of_a_symmetric_sample_is_close_to_that_of_t():
    values = stats.norm.ppf((np.arange(20) + 0.5) / 20)
    found = mean_interval(values)
    half = stats.t.ppf(0.975, 19) * stats.sem(values)
    assert found.high == pytest.approx(half, rel=0.04)
    assert found.low == pytest.approx(-half, rel=0.04)


def test_few_patients_get_the_interval_of_t_and_one_gets_none():
    for values in ([], [0.4]):
        assert mean_interval(np.array(values)) is None
    values = np.array([0.1, 0.3, 0.2, 0.5])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("n", [6, 8, 13, 14, 30])
def test_the_interval_holds_exactly_the_means_that_the_test_does_not_reject(n):
    values = numpy_generator("inversion", n).gamma(2.0, size=n)
    found = mean_interval(values)
    step = 1e-6
    for inside in (found.low + step, found.high - step, values.mean()):
        assert sign_flip_p(values - inside) >= 0.05
    for outside in (found.low - step, found.high + step):
        assert sign_flip_p(values - outside) < 0.05


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_the_sign_flip_test_is_scipys_permutation_test(n):
    values = numpy_generator("flips", n).normal(0.4, 1.0, size=n)
    by_scipy = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert sign_flip_p(values) == pytest.approx(by_scipy.pvalue)


def test_beyond_thirteen_patients_the_drawn_signs_are_close_to_all_of_them():
    values = numpy_generator("many").normal(0.45, 1.0, size=16)
    signs = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-9)
    assert sign_flip_p(values) == pytest.approx(exact, abs=0.006)
    assert sign_flip_p(values) == sign_flip_p(values)


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
    assert rank_sum_p(better, patients) > 0.5
    assert sign_flip_p(better - patients) < 0.001


def test_holm_keeps_the_error_of_the_family_where_single_tests_do_not():
    draw = numpy_generator("family")
    ps = [{str(n): signed_rank_p(row) for n, row in enumerate(draw.normal(size=(4, 10)))} for _ in range(250)]
    single = np.mean([min(family.values()) < 0.05 for family in ps])
    corrected = np.mean([min(holm(family).values()) < 0.05 for family in ps])
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


def test_a_summary_averages_seeds_first_and_then_patients(messy):
    rows = messy.scores.query("metric == 'dice' and loss == 'dice_ce' and patient != 'patient04'")
    by_hand = rows.groupby("patient")["value"].mean()
    summary = next(s for s in summarise(messy, "dice") if s.loss == "dice_ce")
    assert summary.mean == pytest.approx(by_hand.mean())
    assert summary.median == pytest.approx(by_hand.median())
    assert (summary.patients_defined, summary.patients, summary.predictions) == (5, 5, 10)
    seed_means = rows.groupby("seed")["value"].mean()
    assert dict(summary.seed_means) == pytest.approx(seed_means.to_dict())
    assert summary.seed_sd == pytest.approx(seed_means.std())


def test_infinite_distances_are_counted_and_charged_the_diagonal(messy):
    summary = next(s for s in summarise(messy, "hd95") if s.loss == "dice")
    rows = headline_rows(messy, "hd95").query("loss == 'dice'")
    assert summary.misses == int(np.isinf(rows["value"]).sum()) == 2
    assert (summary.patients_defined, summary.patients) == (4, 5)
    diagonal = np.linalg.norm(np.array([24, 28, 8]) * np.array([4.0, 4.0, 6.0]))
    charged = rows.assign(value=rows["value"].replace(np.inf, diagonal)).groupby("patient")["value"].mean()
    assert summary.penalised_mean == pytest.approx(charged.mean())
    assert summary.mean < summary.penalised_mean


def test_cases_without_lesions_leave_the_headline_but_are_counted(messy):
    comparison = compare(messy, "dice")
    empties = {empty.loss: empty for empty in comparison.empty_references}
    statuses = messy.scores.query("metric == 'dice' and patient == 'patient04' and loss == 'dice_ce'")["status"]
    assert empties["dice_ce"].predictions == 2
    assert empties["dice_ce"].correct_empty == int((statuses == "both_empty").sum())
    assert "patient04" not in set(headline_rows(messy, "dice")["patient"])
    assert "patient04" in set(headline_rows(messy, "brier")["patient"])


def test_differences_are_paired_by_case_fold_and_seed(messy):
    pairs = paired_rows(messy, "dice", "dice", "dice_ce")
    assert len(pairs) == 5 + 3
    wide = messy.scores.query("metric == 'dice'").pivot_table(index=["case", "seed"], columns="loss", values="value")
    for row in pairs.itertuples():
        assert row.difference == pytest.approx(
            wide.loc[(row.case, row.seed), "dice"] - wide.loc[(row.case, row.seed), "dice_ce"]
        )
    (difference,) = (d for d in compare(messy, "dice").differences if d.loss == "dice")
    assert difference.pairing == "training"
    assert difference.mean == pytest.approx(patient_values(pairs, "difference").mean())
    assert difference.improved + difference.worsened <= difference.patients == 5


def test_the_method_without_a_network_is_compared_per_patient(messy):
    (difference,) = (d for d in compare(messy, "dice").differences if d.loss == DIFFERENCE_THRESHOLD)
    assert (difference.pairing, difference.patients, difference.pairs) == ("patient", 5, 10)
    assert [seed for seed, _ in difference.seed_means] == [1, 2]
    back = next(d for d in compare(messy, "dice", DIFFERENCE_THRESHOLD).differences if d.loss == "dice_ce")
    assert back.mean == pytest.approx(-difference.mean)


def test_different_weights_are_never_called_a_pair(tmp_path):
    results = ll.load(make_run(tmp_path / "run", small(unpaired=("dice",))))
    comparison = compare(results, "dice")
    assert comparison.differences[0].pairing == "patient"
    assert len(comparison.warnings) == 1
    assert "do not share weights and batches in 4 of 4" in comparison.warnings[0]


def test_a_true_difference_is_found_and_named_on_the_right_side(tmp_path):
    made = Made(
        patients=9,
        losses=("a", "b", "c"),
        skill={"b": 0.5},
        difference=False,
        seeds=(1, 2),
        shape=(24, 28, 8),
        radius=(0.2, 0.4),
    )
    results = ll.load(make_run(tmp_path / "run", made))
    evidence = {
        metric: {d.loss: d.evidence for d in compare(results, metric).differences} for metric in ("dice", "brier")
    }
    assert evidence["dice"]["b"] == evidence["brier"]["b"] == "better"
    assert evidence["dice"]["c"] is None
    assert best_loss(results, "dice") == best_loss(results, "brier") == "b"
    sentence = difference_sentence(compare(results, "dice").differences[0])
    assert sentence.startswith("Better than a: +")
    assert "9 of 9 patients" in sentence
    worse = compare(results, "dice", "b").differences[0]
    assert worse.evidence == "worse"


def test_three_patients_can_show_nothing_and_the_sentence_says_so(tmp_path):
    results = ll.load(make_run(tmp_path / "run", small(patients=3, skill={"dice": 0.5}, folds=3, seeds=(1,))))
    comparison = compare(results, "dice")
    assert not comparison.differences[0].can_be_shown
    assert comparison.differences[0].evidence is None
    assert "With 3 patients no test can show a difference at 5 %" in difference_sentence(comparison.differences[0])
    assert comparison.summaries[0].seed_sd is None
    assert best_loss(results, "dice") is None


def test_unknown_names_lead_to_the_nearest_known_ones(messy):
    with pytest.raises(UsageError, match=r"no metric 'dise'.*did you mean 'dice'"):
        compare(messy, "dise")
    with pytest.raises(UsageError, match=r"no loss 'dice_c'.*did you mean 'dice_ce'"):
        compare(messy, "dice", "dice_c")


def test_a_metric_is_read_as_its_registry_says():
    assert facts("hd95").lower_is_better
    assert facts("nsd(tolerance_mm=2)").zero_if_missed
    assert not facts("brier").needs_lesions
    assert facts("volume_difference_mm3").signed
    assert not facts("volume_mm3").judges
    assert facts("of_my_own") == facts("of_my_own")
    assert not facts("of_my_own").lower_is_better
