"""Complete blocks, ranks, seed-to-seed variability and variance components of whole run folders."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lesionloss as ll
from known import known
from lesionloss.core.number_text import percent
from lesionloss.core.randomness import numpy_generator
from lesionloss.report.wording import seed_variability_sentence
from lesionloss.statistics import (
    Interval,
    SeedVariability,
    best_loss,
    compare,
    estimate_components,
    measure_seed_variability,
    rank_losses,
)
from lesionloss.statistics.complete_blocks import column_means, complete_blocks, loss_table
from lesionloss.statistics.seed_variability import changes_interval
from made_scores import made_scores
from make_run import DIFFERENCE_THRESHOLD, seal_run


def rows_of(values, loss="a", method="network"):
    """Long rows from {(patient, case, fold, seed): value}."""
    keys = ["patient", "case", "fold", "seed"]
    table = pd.DataFrame([dict(zip(keys, key, strict=True)) | {"penalised": value} for key, value in values.items()])
    return table.assign(loss=loss, method=method)


def test_blocks_keep_what_is_complete():
    """A second case is averaged; p2 lacks a score and leaves; fold 1 has one seed."""
    table = pd.DataFrame(
        [
            ("p1", "p1a", 0, 1, 0.2),
            ("p1", "p1b", 0, 1, 0.4),
            ("p1", "p1a", 0, 2, 0.6),
            ("p1", "p1b", 0, 2, 0.8),
            ("p2", "p2a", 0, 1, np.nan),
            ("p2", "p2a", 0, 2, 0.5),
            ("p3", "p3a", 1, 1, 0.9),
        ],
        columns=["patient", "case", "fold", "seed", "x"],
    )
    first, second = complete_blocks(table, ["x"])
    assert (first.patients, first.seeds, second.patients, second.seeds) == (("p1",), (1, 2), ("p3",), (1,))
    assert first.values == pytest.approx(np.array([[[0.3, 0.7]]]))
    assert column_means([first, second]) == pytest.approx([0.7])


def test_a_method_without_seeds_is_repeated_for_every_seed():
    trained = rows_of({("p", "c", 0, 1): 0.1, ("p", "c", 0, 2): 0.2})
    fixed = rows_of({("p", "c", 0, 0): 0.7}, "fixed", DIFFERENCE_THRESHOLD)
    table = loss_table(pd.concat([trained, fixed]), ["a", "fixed"], frozenset({"fixed"}))
    assert table[["seed", "a", "fixed"]].to_numpy().tolist() == [[1, 0.1, 0.7], [2, 0.2, 0.7]]


def test_ranks_are_those_of_the_means_and_lie_in_their_intervals(run):
    results = ll.load(run)
    ranks = {rank.loss: rank for rank in rank_losses(results.metric_scores("dice"))}
    means = {s.loss: known(s.penalised_mean) for s in compare(results, "dice").summaries if s.loss in ranks}
    assert DIFFERENCE_THRESHOLD not in ranks
    assert {loss: rank.mean for loss, rank in ranks.items()} == pytest.approx(means)
    assert sorted(means, key=lambda loss: -means[loss]) == sorted(ranks, key=lambda loss: ranks[loss].rank)
    assert all(rank.low <= rank.rank <= rank.high for rank in ranks.values())
    assert next(r for r in rank_losses(results.metric_scores("hd95")) if r.loss == "dice").rank == 1


def test_a_loss_is_the_best_only_if_every_pair_shows_it():
    draw = numpy_generator("best")
    noise = {loss: 0.01 * draw.normal(size=(20, 3)) for loss in "abcd"}
    shifts = {"a": 0.0, "b": 0.2, "c": 0.1, "d": 0.0}
    ranks = rank_losses(made_scores({loss: 0.5 + shifts[loss] + noise[loss] for loss in noise}))
    assert [(r.loss, r.rank, r.low, r.high) for r in ranks][1:3] == [("b", 1, 1, 1), ("c", 2, 2, 2)]
    assert {(r.low, r.high) for r in ranks if r.loss in "ad"} == {(3, 4)}
    assert best_loss(ranks) == "b"
    equal = {loss: 0.5 + noise[loss] for loss in noise}
    assert best_loss(rank_losses(made_scores(equal))) is None


def test_without_verdicts_every_rank_is_possible():
    values = {"a": np.full((20, 2), 0.5), "b": np.full((20, 2), 0.9)}
    cases = [
        made_scores({loss: table[:, :1] for loss, table in values.items()}),
        made_scores(values, missing=[("b", 0, 2)]),
        made_scores(values, failed=[("b", 0, 1), ("b", 0, 2)]),
    ]
    for scores in cases:
        assert {(rank.low, rank.high) for rank in rank_losses(scores)} == {(1, 2)}


def test_seeds_never_change_a_clear_winner(run):
    assert known(measure_seed_variability(ll.load(run).metric_scores("dice"))).winner_changes == 0


def test_two_losses_that_are_best_in_every_second_seed_change_in_two_of_three_pairs(run):
    """Of 6 pairs of different seeds, 4 have different best losses."""
    values = {("a", seed): (0.2, 0.4, 0.2, 0.4)[seed] for seed in range(4)} | {("b", seed): 0.3 for seed in range(4)}
    rows = pd.DataFrame(
        [
            {"loss": loss, "method": "network", "patient": p, "case": p, "fold": 0, "seed": seed, "penalised": value}
            for (loss, seed), value in values.items()
            for p in "abcde"
        ]
    )
    scores = replace(ll.load(run).metric_scores("dice"), rows=rows, losses=("a", "b"))
    found = known(measure_seed_variability(scores))
    assert found.winner_changes == pytest.approx(2 / 3, abs=0.03)
    assert dict(found.winners)["a"] == pytest.approx(0.5, abs=0.03)


def test_with_one_seed_seed_to_seed_variability_is_unknown(single):
    comparison = compare(ll.load(single), "dice")
    assert comparison.seed_variability is None
    found = {c.source: c for c in comparison.components}
    assert found["seed"].share is None
    assert found["loss x seed"].share is None
    assert found["patient"].share is not None
    assert all(difference.verdict == "one seed" for difference in comparison.differences)


def test_a_failed_trial_removes_its_fold_and_not_the_run(single):
    comparison = compare(ll.load(single), "dice")
    assert {r.patients for r in comparison.ranks} == {4}
    assert {d.loss: d.patients for d in comparison.differences} == {"dice": 8, "hytver": 4}


def test_a_metric_that_describes_has_no_winner(single, tmp_path):
    folder = shutil.copytree(single, tmp_path / "run")
    for path in (folder / "trials").glob("*/scores.csv"):
        path.write_text(path.read_text().replace("false_positive_lesion_volume_mm3", "volume_mm3"))
    seal_run(folder)
    comparison = compare(ll.load(folder), "volume_mm3")
    assert (comparison.ranks, comparison.seed_variability) == ((), None)
    assert all(d.p is None and d.p_rank_sum is None and d.rank_biserial is None for d in comparison.differences)


def test_shares_of_variance_add_up(run):
    found = estimate_components(ll.load(run).metric_scores("dice"))
    assert sum(c.share for c in found if c.share is not None) == pytest.approx(1)
    assert all(c.sd == pytest.approx(np.sqrt(max(0.0, c.variance))) for c in found if c.variance is not None)


def test_shares_never_round_to_never_or_always():
    assert [percent(x) for x in (0.0, 0.004, 0.41, 0.997, 1.0, None)] == [
        "0 %",
        "< 1 %",
        "41 %",
        "> 99 %",
        "100 %",
        "–",
    ]
    sentence = seed_variability_sentence(SeedVariability(0.41, Interval(0.12, 0.75), (), 5, 8))
    assert sentence == "Two runs with one seed each would have different best losses 41 % of the time [12 %, 75 %]."


def test_few_seeds_say_little_about_other_seeds():
    """Three seeds without a change leave a change in 71 % of re-runs possible; two seeds say nothing at all."""
    assert changes_interval(0.0, 3).high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert changes_interval(0.0, 10).high < 0.2
    two = made_scores({loss: np.full((8, 2), value) for loss, value in (("a", 0.5), ("b", 0.6))})
    assert measure_seed_variability(two) is None
