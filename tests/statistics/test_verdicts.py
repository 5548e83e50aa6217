"""What a verdict needs, run by run, with the data that lead to it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from known import known
from lesionloss.core.randomness import numpy_generator
from lesionloss.report.answer import answer
from lesionloss.report.wording import components_sentence
from lesionloss.statistics import Interval, compare_losses
from lesionloss.statistics.comparison import interim_level, with_baseline
from lesionloss.statistics.new_training_runs import fold_interval, fold_ps, fold_spread, probabilities
from made_scores import made_scores


def values(shift, name="", patients=20, seeds=3, sd=0.01, fold_sd=0.0):
    """Dice of a loss: patients who are easy or hard for all losses, its own noise and effects of the folds."""
    common = numpy_generator("patients").uniform(0.5, 0.8, size=(patients, 1))
    draw = numpy_generator("own", name, shift)
    by_fold = fold_sd * draw.normal(size=5)[np.arange(patients) % 5, None]
    return common + shift + by_fold + sd * draw.normal(size=(patients, 1)) + 0.002 * draw.normal(size=(patients, seeds))


def difference(scores, level=0.05):
    return compare_losses(scores, level).differences[0]


def test_a_t_over_folds_of_one_size_is_students_t_of_their_means():
    draw = numpy_generator("folds")
    folds = [draw.normal(size=(1, 4)) for _ in range(5)]
    means = np.array([fold.mean() for fold in folds])
    spread = fold_spread([folds])
    assert fold_ps(np.array([means.mean()]), spread) == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    low, high = stats.t.interval(0.95, 4, loc=means.mean(), scale=stats.sem(means))
    found = known(fold_interval(means.mean(), fold_spread([[fold[0] for fold in folds]]), 0.95))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_patient_in_every_fold_gives_students_t_over_patients():
    sample = numpy_generator("leave one out").normal(size=9)
    spread = fold_spread([[np.array([value]) for value in sample]])
    assert fold_ps(sample.mean(), spread) == pytest.approx(stats.ttest_1samp(sample, 0).pvalue)


def test_repeats_add_degrees_of_freedom_and_do_not_count_patients_twice():
    draw = numpy_generator("repeats")
    sample = draw.normal(size=20)
    repeats = [np.array_split(draw.permutation(sample), 2) for _ in range(8)]
    one, several = fold_spread(repeats[:1]), fold_spread(repeats)
    assert (one.freedom, several.freedom) == (1, 8)
    expected = sample.std(ddof=1) / 20**0.5
    assert np.mean([fold_spread([repeat]).error ** 2 for repeat in repeats]) == pytest.approx(several.error**2)
    assert several.error == pytest.approx(expected, rel=0.5)
    assert fold_spread(repeats * 4).freedom == 19


def test_one_split_says_nothing_about_new_training_sets():
    spread = fold_spread([[np.array([0.1, 0.2])]])
    assert fold_ps(np.array(0.15), spread) == 1
    assert fold_interval(0.15, spread, 0.95) is None


def test_posterior_probabilities_are_those_of_the_correlated_t():
    draw = numpy_generator("posterior")
    means = 0.02 + 0.01 * draw.normal(size=5)
    spread = fold_spread([[np.array([mean]) for mean in means]])
    scale = np.sqrt((1 / 5 + 1 / 4) * means.var(ddof=1))
    posterior = stats.t(4, loc=means.mean(), scale=scale)
    below, within, above = probabilities(means.mean(), spread, 0.01)
    assert below == pytest.approx(posterior.cdf(-0.01))
    assert above == pytest.approx(posterior.sf(0.01))
    assert below + within + above == pytest.approx(1)


def test_the_p_of_a_verdict_is_the_larger_one_after_holm_over_planned_losses():
    run = {"base": values(0.0), "a": values(0.01, fold_sd=0.01), "b": values(0.0, "b")}
    few, many = (compare_losses(made_scores(run, planned=planned)).differences for planned in (3, 9))
    for d in few:
        assert d.p == max(known(d.p_patients), known(d.p_new_training_runs))
    assert [d.comparisons for d in few] == [2, 2]
    assert [d.comparisons for d in many] == [8, 8]
    smallest = min(known(d.p) for d in few)
    assert min(known(d.p_holm) for d in many) == pytest.approx(min(1, 8 * smallest))


def test_differences_by_training_sets_are_no_verdict():
    d = difference(made_scores({"base": values(0.0), "a": values(0.03, fold_sd=0.05)}))
    assert d.networks_differ
    assert d.verdict == "undecided"
    bounds = known(d.interval_new_training_runs)
    assert bounds.low < 0 < bounds.high


@pytest.mark.parametrize("folds", [5, 20])
def test_one_seed_is_no_verdict_even_if_every_patient_is_a_fold(folds):
    d = difference(made_scores({"base": values(0.0, seeds=1), "a": values(0.1, seeds=1)}, folds=folds))
    assert (d.verdict, d.p, d.p_holm, d.chances) == ("one seed", None, None, None)
    assert d.networks_differ


def test_failures_that_leave_one_seed_in_a_fold_are_no_verdict():
    run = {"base": values(0.0, seeds=2), "a": values(0.1, seeds=2)}
    assert difference(made_scores(run)).verdict == "better"
    failed = [("a", fold, 1 + fold % 2) for fold in range(5)]
    assert difference(made_scores(run, failed=failed)).verdict == "one seed"
    assert difference(made_scores(run, failed=[("a", 2, 1), ("a", 2, 2)])).verdict == "failed folds"


def test_an_unfinished_run_has_no_verdict_but_at_the_level_of_a_look():
    run = {"base": values(0.0), "a": values(0.1), "b": values(0.0, "b")}
    scores = made_scores(run, missing=[("b", fold, seed) for fold in range(5) for seed in (1, 2, 3)])
    assert {d.verdict for d in compare_losses(scores).differences} == {"interim", "no pairs"}
    level = interim_level(scores)
    assert level == pytest.approx(2 * stats.norm.sf(stats.norm.isf(0.005) / np.sqrt(2 / 3)))
    d = difference(scores, level)
    assert (d.verdict, d.comparisons, d.level) == ("better", 2, level)
    assert interim_level(made_scores(run)) == 0.05


def test_a_small_difference_is_equivalent_by_its_interval():
    run = {"base": values(0.0), "a": values(0.002, sd=0.002)}
    equivalent = difference(made_scores(run, margin=0.02))
    assert equivalent.verdict == "equivalent"
    assert equivalent.not_inferior
    bounds = known(equivalent.interval_new_training_runs)
    assert difference(made_scores(run, margin=0.9 * max(-bounds.low, bounds.high))).verdict != "equivalent"
    assert difference(made_scores(run)).verdict == "undecided"


def test_posterior_probabilities_decide_where_the_plan_says_so():
    run = {"base": values(0.0), "a": values(0.1), "b": values(0.0, "b", sd=0.002)}
    found = compare_losses(made_scores(run, margin=0.01, decision="bayesian")).differences
    assert [d.verdict for d in found] == ["better", "equivalent"]
    chances = known(found[0].chances)
    assert chances.better > 0.95
    assert chances.better + chances.equivalent + chances.worse == pytest.approx(1)
    worse = compare_losses(with_baseline(made_scores(run, margin=0.01, decision="bayesian"), "a")).differences[0]
    assert known(worse.chances).worse == pytest.approx(chances.better)
    assert worse.verdict == "worse"


def test_lower_values_are_better_on_the_same_side_everywhere():
    run = {"base": 10 * values(0.0), "a": 10 * values(-0.1)}
    d = difference(made_scores(run, metric="hd95", margin=0.5, worst=200.0))
    assert d.verdict == "better"
    assert d.not_inferior
    assert known(d.chances).better > 0.95
    assert known(d.mean) < 0 < d.gain


def test_signed_errors_are_ranked_by_what_is_tested():
    """±1000 mm³ has a mean of 0, but the larger errors."""
    sign = np.where(np.arange(20) % 2, 1.0, -1.0)[:, None] + 0.01 * numpy_generator("signs").normal(size=(20, 3))
    run = {"small": np.full((20, 3), 100.0) + sign, "large": 1000 * sign}
    comparison = compare_losses(made_scores(run, metric="volume_difference_mm3", worst=None))
    assert comparison.differences[0].verdict == "worse"
    assert {rank.loss: rank.rank for rank in comparison.ranks} == {"small": 1, "large": 2}


def test_differences_by_rounding_are_none():
    base = values(0.0)
    d = difference(made_scores({"base": base, "a": base + 1e-15}))
    assert (d.improved, d.worsened, d.mean, d.p, d.verdict) == (0, 0, 0.0, 1.0, "undecided")


def test_a_method_without_training_counts_in_no_other_comparison():
    run = {"base": values(0.0), "a": values(0.1), "threshold": values(-0.2)}
    found = compare_losses(made_scores(run, untrained=["threshold"])).differences
    assert [(d.loss, d.comparisons, d.verdict) for d in found] == [("a", 1, "better"), ("threshold", 1, "worse")]


def test_means_of_a_difference_are_over_its_patients():
    """A loss that is worse everywhere, and failed on the hard fold, is not called the better one by its mean."""
    hard = values(0.0)
    hard[np.arange(20) % 5 == 0] -= 0.4
    run = {"base": hard, "a": hard - 0.05}
    comparison = compare_losses(made_scores(run, failed=[("a", 0, seed) for seed in (1, 2, 3)]))
    all_patients = {s.loss: known(s.mean) for s in comparison.summaries}
    assert all_patients["a"] > all_patients["base"]
    d = comparison.differences[0]
    assert known(d.loss_mean) - known(d.baseline_mean) == pytest.approx(-0.05) == pytest.approx(known(d.mean))
    assert [rank.rank for rank in comparison.ranks] == [1, 2]


def test_intervals_of_several_losses_are_simultaneous_and_never_contradict_holm():
    run = {"base": values(0.0)} | {f"loss {n}": values(0.004 * n, str(n)) for n in range(6)}
    alone = compare_losses(made_scores({"base": run["base"], "loss 3": run["loss 3"]})).differences[0]
    together = compare_losses(made_scores(run)).differences
    of_three = known(next(d for d in together if d.loss == "loss 3").interval_new_training_runs)
    assert of_three.high - of_three.low > 1.2 * (
        known(alone.interval_new_training_runs).high - known(alone.interval_new_training_runs).low
    )
    for d in together:
        bounds = known(d.interval_new_training_runs)
        assert (bounds.low >= 0 or bounds.high <= 0) == (known(d.p_holm) < 0.05)


def test_failures_too_rare_to_be_seen_can_undo_a_verdict():
    run = {"base": values(0.0), "a": values(0.05)}
    enough, unseen = known(difference(made_scores(run)).undone_by)
    assert unseen == pytest.approx(1 - 0.05 ** (1 / 20))
    assert enough == pytest.approx(0.05 / 0.7, rel=0.1)
    sure = difference(made_scores({"base": values(0.0) - 0.3, "a": values(0.1)}))
    assert (sure.verdict, sure.undone_by) == ("better", None)
    missed = values(0.05)
    missed[0] = 0.0
    some = compare_losses(made_scores({"base": values(0.0), "a": missed}))
    assert some.differences[0].failures == (1, 0)
    assert known(some.summaries[1].failure_interval) == Interval(*stats.binomtest(1, 20).proportion_ci(method="exact"))


def test_a_baseline_chosen_after_the_run_is_compared_as_one_of_all_pairs():
    run = {"base": values(0.0), "a": values(0.1), "b": values(0.0, "b"), "c": values(0.0, "c")}
    comparison = compare_losses(with_baseline(made_scores(run), "a"))
    assert {d.comparisons for d in comparison.differences} == {6}
    assert comparison.warnings[0].startswith("the plan declares base as the baseline; a was chosen after the run")


def test_ranks_and_means_that_contradict_each_other_are_undecided():
    d = difference(made_scores({"base": values(0.0), "a": values(0.1)}, test="signed_rank"))
    assert d.verdict == "better"
    assert replace(d, rank_biserial=-0.5).verdict == "undecided"


def test_another_machine_torch_or_number_of_threads_within_a_pair_is_named():
    scores = made_scores({"a": values(0), "b": values(0.1, "b"), "c": values(0.1, "c")})
    same = {"processor": "Some CPU", "device": "cpu", "torch": "2.13.0", "threads": 2}
    for trial in scores.trials:
        trial.__dict__["machine"] = same | ({"threads": 4} if (trial.loss, trial.fold) == ("b", 3) else {})
    (warning,) = compare_losses(scores).warnings
    assert warning.startswith("training runs of pairs with a differ in threads (first: b, fold 3, seed 1)")
    for trial in scores.trials:
        trial.__dict__["machine"] = same | ({"torch": "2.14.0", "device": "GPU"} if trial.loss == "c" else {})
    assert "differ in device, torch (first: c, fold 0, seed 1)" in compare_losses(scores).warnings[0]
    for trial in scores.trials:  # a pair that was split over two GPU models
        model = "Tesla T4" if (trial.loss, trial.fold) == ("b", 1) else "NVIDIA A100-SXM4-40GB"
        trial.__dict__["machine"] = same | {"device": model}
    assert "differ in device (first: b, fold 1, seed 1)" in compare_losses(scores).warnings[0]
    for trial in scores.trials:
        trial.__dict__["machine"] = same
    assert compare_losses(scores).warnings == ()


@pytest.mark.parametrize(("metric", "value"), [("dice", 0.0), ("dice", 0.5), ("hd95", 200.1)])
def test_where_nothing_varies_no_source_of_variance_is_named(metric, value):
    table = np.full((10, 3), value)
    comparison = compare_losses(made_scores({"a": table, "b": table, "c": table}, metric=metric))
    assert components_sentence(comparison.components) == ""


def test_losses_that_predict_nothing_at_all_are_named():
    scores = made_scores({"a": np.full((10, 3), np.inf), "b": np.full((10, 3), 20.0)}, metric="hd95", worst=200.0)
    assert "All predictions of a are empty." in answer(compare_losses(scores), primary=True)[0]
