"""Statistics of tables so small that the numbers follow by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lesionloss as ll
from known import known
from lesionloss.core.randomness import numpy_generator
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.statistics import Chances, Interval, compare, rank_losses, summarise
from lesionloss.statistics.complete_blocks import FoldBlock, LossBlocks
from lesionloss.statistics.evidence import sign_flip_p
from lesionloss.statistics.new_training_runs import FoldSpread, probabilities
from lesionloss.statistics.paired_differences import paired_differences
from lesionloss.statistics.summaries import seed_means
from lesionloss.statistics.variance_components import components_of


def two_by_two(patient: float, seed: float, both: float, *, own: tuple[float, float, float]) -> LossBlocks:
    """Two losses, 4 above and 4 below the mean, of two patients and seeds, whose effects have these sizes."""
    of_loss, of_patient, of_seed = np.meshgrid([1, -1], [1, -1], [1, -1], indexing="ij")
    common = patient * of_patient + seed * of_seed + both * of_patient * of_seed
    apart = 4 + own[0] * of_patient + own[1] * of_seed + own[2] * of_patient * of_seed
    return LossBlocks(("a", "b"), (FoldBlock(0, ("p", "q"), (1, 2), 10 + common + of_loss * apart),))


def test_variance_components_of_two_by_two_by_two_scores():
    """The mean squares are 4 and 8 times the squared effects; their differences are the variances."""
    found = {c.source: c for c in components_of(two_by_two(3, 2, 1, own=(1, 0.5, 0.25)))}
    variances = {"loss": 29.625, "patient": 14.125, "seed": 5.625}
    variances |= {"loss x patient": 3.75, "loss x seed": 0.75, "rest": 4.25}
    for source, variance in variances.items():
        assert found[source].variance == pytest.approx(variance), source
        assert found[source].sd == pytest.approx(variance**0.5), source
        assert found[source].share == pytest.approx(variance / 58.125), source
    assert (found["fold"].variance, found["loss x fold"].sd, found["fold"].share) == (None, None, None)
    levels = {"loss": 2, "fold": 1, "patient": 2, "seed": 2, "loss x fold": 2, "loss x patient": 4}
    levels |= {"loss x seed": 4, "rest": 8}
    assert {source: c.levels for source, c in found.items()} == levels


def test_a_negative_variance_is_kept_and_counts_as_0_elsewhere():
    found = {c.source: c for c in components_of(two_by_two(3, 2, 0, own=(0, 0, 0.5)))}
    assert found["loss x patient"].variance == pytest.approx(-1)
    assert (found["loss x patient"].sd, found["loss x patient"].share) == (0, 0)
    assert found["patient"].variance == pytest.approx(18)
    assert found["rest"].variance == pytest.approx(2)
    assert found["loss"].variance == pytest.approx(32 - 2 / 4)


def test_variance_components_do_not_depend_on_the_order_of_three_losses():
    values = numpy_generator("three losses").normal(size=(3, 4, 2))
    blocks = [FoldBlock(0, tuple("pqrs"), (1, 2), values[order]) for order in ([0, 1, 2], [2, 0, 1])]
    first, second = (components_of(LossBlocks(("a", "b", "c"), (block,))) for block in blocks)
    assert [c.variance for c in first] == pytest.approx([c.variance for c in second])


def scores_of(run, values: dict[tuple[str, str, int], float], metric: str = "dice") -> MetricScores:
    """Scores of these values by loss, patient and seed."""
    rows = [
        {"loss": loss, "patient": patient, "case": patient, "fold": 0, "seed": seed, "value": value, "unit": ""}
        | {"penalised": value, "status": "ok", "key": f"{loss}{seed}"}
        for (loss, patient, seed), value in values.items()
    ]
    losses = tuple(dict.fromkeys(loss for loss, _, _ in values))
    return replace(ll.load(run).metric_scores(metric), rows=pd.DataFrame(rows), losses=losses)


@pytest.mark.parametrize(("metric", "ranks"), [("dice", [3, 1, 1]), ("hd95", [1, 2, 2])])
def test_ranks_of_two_patients_with_a_tie(run, metric, ranks):
    levels = {"a": 0.2, "b": 0.6, "c": 0.6}
    values = {(loss, p, 1): level + shift for loss, level in levels.items() for p, shift in (("p", 0), ("q", 0.1))}
    found = rank_losses(scores_of(run, values, metric))
    assert [(r.rank, r.low, r.high, r.patients) for r in found] == [(rank, 1, 3, 2) for rank in ranks]
    assert [r.mean for r in found] == pytest.approx([0.25, 0.65, 0.65])


def test_three_equal_losses_share_the_first_rank(run):
    values = {(loss, p, 1): 0.5 for loss in "abc" for p in "pq"}
    assert [r.rank for r in rank_losses(scores_of(run, values))] == [1, 1, 1]


def test_two_losses_and_two_patients_have_ranks_and_less_has_none(run):
    values = {(loss, p, 1): level for loss, level in (("a", 0.2), ("b", 0.6)) for p in "pq"}
    assert [r.rank for r in rank_losses(scores_of(run, values))] == [2, 1]
    assert rank_losses(scores_of(run, {key: value for key, value in values.items() if key[0] == "a"})) == ()
    assert rank_losses(scores_of(run, {key: value for key, value in values.items() if key[1] == "p"})) == ()


def test_a_summary_of_two_seeds_by_hand(run):
    values = {("a", "p", 1): 0.2, ("a", "p", 2): 0.4, ("a", "q", 1): 0.6, ("a", "q", 2): 1.0}
    (summary,) = summarise(scores_of(run, values))
    assert (summary.mean, summary.median) == pytest.approx((0.55, 0.55))
    assert [value for _, value in summary.seed_means] == pytest.approx([0.4, 0.7])
    assert summary.seed_sd == pytest.approx(0.3 / 2**0.5)
    assert (summary.patients, summary.patients_defined, summary.predictions) == (2, 2, 4)
    (one_seed,) = summarise(scores_of(run, {key: value for key, value in values.items() if key[2] == 1}))
    assert one_seed.seed_sd is None


def test_seed_means_are_over_the_cases_that_every_seed_has():
    rows = pd.DataFrame(
        [("p", 1, 0.2), ("p", 2, 0.4), ("q", 1, 0.9), ("q", 2, np.nan)], columns=["case", "seed", "value"]
    )
    assert seed_means(rows.assign(patient=rows["case"]), "value") == ((1, 0.2), (2, 0.4))
    assert seed_means(rows.assign(patient=rows["case"], value=np.nan), "value") == ()


def test_trials_that_failed_or_are_missing_were_planned(messy):
    summaries = {s.loss: s for s in summarise(messy.metric_scores("dice"))}
    assert summaries["dice"].planned - summaries["dice"].trials == 1
    assert summaries["dice_ce"].planned == summaries["dice_ce"].trials


def test_what_is_shown_and_what_is_decided_at_the_limits(run):
    found = next(d for d in compare(ll.load(run), "dice").differences if d.loss == "dice")
    clear = replace(found, margin=0.0, unanswered="", p_holm=0.01, mean=0.2)
    # The smallest p of six patients is 2 / 2^6 = 3.1 %; of two comparisons the least is twice that.
    assert replace(clear, patients=6, comparisons=1).can_be_shown
    assert not replace(clear, patients=6, comparisons=2).can_be_shown
    assert not replace(clear, patients=5, comparisons=1).can_be_shown
    assert not replace(clear, patients=1, comparisons=0).can_be_shown
    assert (clear.verdict, replace(clear, lower_is_better=True).verdict) == ("better", "worse")
    below = replace(clear, mean=-0.2)
    assert (below.verdict, replace(below, lower_is_better=True).verdict) == ("worse", "better")
    assert replace(clear, p_holm=0.049).decided
    for nothing in (replace(clear, p_holm=0.05), replace(clear, p_holm=None), replace(clear, mean=0.0)):
        assert (nothing.verdict, nothing.decided) == ("undecided", False)
    assert replace(clear, unanswered="one seed").verdict == "one seed"
    assert replace(clear, p_patients_holm=0.049).networks_differ
    assert not replace(clear, p_patients_holm=0.05).networks_differ
    assert replace(clear, improved=3, patients=4).share_improved == 0.75
    assert replace(clear, improved=0, patients=0).share_improved is None


def test_a_margin_decides_at_its_limits(run):
    found = next(d for d in compare(ll.load(run), "dice").differences if d.loss == "dice")
    clear = replace(found, margin=0.1, unanswered="", p_holm=0.01, mean=0.02)
    inside = replace(clear, interval_new_training_runs=Interval(-0.09, 0.09))
    assert (inside.verdict, inside.not_inferior) == ("equivalent", True)
    for bounds, not_inferior in ((Interval(-0.1, 0.09), False), (Interval(-0.09, 0.1), True)):
        wider = replace(clear, interval_new_training_runs=bounds)
        assert (wider.verdict, wider.not_inferior) == ("better", not_inferior)
        assert replace(wider, lower_is_better=True).not_inferior != not_inferior
    assert not replace(inside, unanswered="interim").not_inferior
    assert not replace(inside, margin=0.0).not_inferior
    chances = Chances(worse=0.01, equivalent=0.03, better=0.96)
    assert replace(clear, decision="bayesian", chances=chances).verdict == "better"
    assert replace(clear, decision="bayesian", chances=Chances(0.01, 0.05, 0.94)).verdict == "undecided"
    assert replace(clear, decision="bayesian", chances=None).verdict == "undecided"


def test_an_unchanged_patient_is_neither_better_nor_worse(run):
    gains = {"p": 0.1, "q": 0.2, "r": 0.0, "s": -0.1}
    values = {("a", p, 1): 0.5 for p in "pqrs"} | {("b", p, 1): 0.5 + d for p, d in gains.items()}
    for metric, improved, worsened in (("dice", 2, 1), ("hd95", 1, 2)):
        scores = replace(scores_of(run, values, metric), baseline="a", losses=("a", "b"), untrained=frozenset())
        (difference,) = paired_differences(scores, {"b": "training run"})
        assert (difference.improved, difference.worsened, difference.patients) == (improved, worsened, 4)
        assert known(difference.mean) == pytest.approx(0.05)
        assert (difference.pairs, difference.undefined) == (4, 0)


def test_ties_of_the_sign_flip_test_count_on_both_sides():
    """A patient without a difference doubles every pattern: 2 of 8 signs, whichever loss is better."""
    for sign in (1, -1):
        assert sign_flip_p(sign * np.array([0.1, 0.2, 0.3, 0.0])) == pytest.approx(0.25)


def test_a_difference_of_just_the_margin_lies_within_it():
    spread = FoldSpread(np.array(0.0), 4.0, 5)
    assert [probabilities(centre, spread, 0.5) for centre in (-0.5, 0.5)] == [(0.0, 1.0, 0.0)] * 2
