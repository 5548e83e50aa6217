"""Ranks, luck, components and power of whole run folders."""

import json
import shutil
import sys
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

import lesionloss as ll
from lesionloss.cli import main
from lesionloss.core.errors import UsageError
from lesionloss.core.number_text import percent
from lesionloss.core.randomness import numpy_generator
from lesionloss.report.wording import difference_sentence, luck_sentence, outlook_sentences
from lesionloss.runs.values import patient_values
from lesionloss.statistics import Luck, compare, components, luck_of_the_seed, outlook, ranks
from lesionloss.statistics.comparison import _patient_differences
from lesionloss.statistics.complete_blocks import Block, column_means, complete_blocks, loss_table
from lesionloss.statistics.differences import comparable_rows, pairs_of
from lesionloss.statistics.new_training_runs import interval_over_trainings, training_weight
from lesionloss.statistics.ranks import resampled_means
from make_run import DIFFERENCE_THRESHOLD, Made, make_run

LOSSES = ("dice_ce", "dice", "hytver")
TINY = {"shape": (20, 24, 8), "spacing_mm": (4.0, 4.0, 6.0), "radius": (0.25, 0.45)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Eight patients, three seeds; dice is clearly better."""
    made = Made(patients=8, losses=LOSSES, skill={"dice": 0.6}, seeds=(1, 2, 3), metrics=("dice", "hd95"), **TINY)
    return make_run(tmp_path_factory.mktemp("runs") / "run", made)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """One seed, one failed trial, no method without a network."""
    made = Made(
        patients=8,
        losses=LOSSES,
        seeds=(1,),
        difference=False,
        failed=(("hytver", 1, 1),),
        metrics=("dice", "false_positive_lesion_volume_mm3"),
        **TINY,
    )
    return make_run(tmp_path_factory.mktemp("single") / "run", made)


@pytest.fixture
def cli(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "150")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["lesionloss", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return call


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


def test_a_method_without_seeds_stands_beside_every_seed():
    trained = rows_of({("p", "c", 0, 1): 0.1, ("p", "c", 0, 2): 0.2})
    fixed = rows_of({("p", "c", 0, 0): 0.7}, "fixed", DIFFERENCE_THRESHOLD)
    table = loss_table(pd.concat([trained, fixed]), ["a", "fixed"], ["fixed"])
    assert table[["seed", "a", "fixed"]].to_numpy().tolist() == [[1, 0.1, 0.7], [2, 0.2, 0.7]]


def test_trainings_weigh_fully_with_one_fold_and_nothing_with_one_patient_each():
    assert training_weight([8], [2]) == pytest.approx(1 / 2)
    assert training_weight([1] * 8, [1] * 8) == pytest.approx(0)
    assert 0 < training_weight([4, 4], [2, 2]) < 1 / 4


def test_one_seed_leaves_new_trainings_unknown_unless_every_patient_has_its_own():
    draw = numpy_generator("one seed")
    assert interval_over_trainings([draw.normal(size=(8, 1))], 0.0) is None
    assert interval_over_trainings([draw.normal(size=(1, 1)) for _ in range(8)], 0.0) is not None
    assert interval_over_trainings([], 0.0) is None


def test_ranks_are_those_of_the_means_and_their_shares_add_up(run):
    results = ll.load(run)
    comparison = compare(results, "dice")
    by_mean = sorted(comparison.summaries, key=lambda s: -s.penalised_mean)
    assert [r.loss for r in sorted(comparison.ranks, key=lambda r: r.rank)] == [s.loss for s in by_mean]
    assert sum(r.best for r in comparison.ranks) == pytest.approx(1)
    assert all(sum(r.shares) == pytest.approx(1) and r.low <= r.rank <= r.high for r in comparison.ranks)
    best = next(r for r in comparison.ranks if r.loss == "dice")
    assert best.rank == 1
    assert best.best > 0.9
    assert next(r for r in ranks(results, "hd95") if r.loss == "dice").rank == 1


def test_the_bootstrap_draws_patients_and_seeds_for_all_losses_at_once():
    values = numpy_generator("drawn").normal(size=(1, 6, 3))
    block = Block(0, tuple("abcdef"), (1, 2, 3), np.concatenate([values, values + 0.25]))
    means = resampled_means((block,), 3000, numpy_generator("resample"))
    assert means[:, 1] - means[:, 0] == pytest.approx(0.25)
    patients, seeds = values[0].mean(axis=1), values[0].mean(axis=0)
    assert means[:, 0].mean() == pytest.approx(values.mean(), abs=0.03)
    assert means[:, 0].var() > 0.8 * (patients.var() / 6 + seeds.var() / 3)


def test_luck_is_nothing_for_a_clear_winner_and_half_for_two_that_take_turns(run, monkeypatch):
    assert luck_of_the_seed(ll.load(run), "dice").change == 0
    from lesionloss.statistics import seed_variability
    from lesionloss.statistics.loss_blocks import World

    ones = np.ones((1, 5, 1))
    turns = np.concatenate([ones * [[[0.2, 0.4, 0.2, 0.4]]], ones * [[[0.3, 0.3, 0.3, 0.3]]]])
    monkeypatch.setattr(
        seed_variability, "world", lambda *_, **__: World(("a", "b"), (Block(0, tuple("abcde"), (1, 2, 3, 4), turns),))
    )
    found = luck_of_the_seed(ll.load(run), "dice")
    assert found.change == pytest.approx(2 / 3, abs=0.03)  # of 6 pairs of different seeds, 4 crown different losses
    assert dict(found.winners)["a"] == pytest.approx(0.5, abs=0.03)


def test_one_seed_claims_no_knowledge_of_luck(single):
    results = ll.load(single)
    comparison = compare(results, "dice")
    assert comparison.luck is None
    found = {c.source: c for c in comparison.components}
    assert found["seed"].share is None
    assert found["loss x seed"].share is None
    assert found["patient"].share is not None
    assert all(d.interval_trainings is None and d.holds_for_new_trainings is None for d in comparison.differences)
    expected = outlook(results, "dice", 0.05)
    assert all(o.detectable_new_trainings is None and [n.seeds for n in o.needs] == [1] for o in expected)
    assert "add a second seed" in outlook_sentences(expected[0])[1]


def test_a_failed_trial_costs_its_fold_not_the_run(single):
    comparison = compare(ll.load(single), "dice")
    assert {r.patients for r in comparison.ranks} == {4}
    assert {d.loss: d.patients for d in comparison.differences} == {"dice": 8, "hytver": 4}


def test_a_metric_that_describes_has_no_winner(single, tmp_path):
    folder = shutil.copytree(single, tmp_path / "run")
    for path in (folder / "trials").glob("*/scores.csv"):
        path.write_text(path.read_text().replace("false_positive_lesion_volume_mm3", "volume_mm3"))
    results = ll.load(folder)
    comparison = compare(results, "volume_mm3")
    assert (comparison.ranks, comparison.luck) == ((), None)
    assert all(d.p is None and d.p_rank_sum is None and d.rank_biserial is None for d in comparison.differences)
    with pytest.raises(UsageError, match="describes and does not judge"):
        outlook(results, "volume_mm3", 1.0)


def test_shares_of_variance_add_up(run):
    found = components(ll.load(run), "dice")
    assert sum(c.share for c in found if c.share is not None) == pytest.approx(1)
    assert all(c.sd == pytest.approx(np.sqrt(max(0.0, c.variance))) for c in found if c.variance is not None)


@pytest.mark.parametrize("folder", ["run", "single"])
def test_differences_of_all_pairs_at_once_are_those_of_each_pair(folder, request):
    results = ll.load(request.getfixturevalue(folder))
    for metric in results.metrics:
        rows = comparable_rows(results, metric)
        pairs = list(combinations((*results.losses, "never run"), 2))
        together = _patient_differences(rows, results.losses, pairs)
        assert any(len(values) for values in together.values())
        for pair in pairs:
            np.testing.assert_allclose(together[pair], patient_values(pairs_of(rows, *pair), "difference"), atol=1e-12)


def test_the_test_is_the_one_that_the_plan_declares(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    plan = (folder / "plan.toml").read_text()
    (folder / "plan.toml").write_text('test = "signed_rank"\n' + plan)
    declared, default = compare(ll.load(folder), "dice"), compare(ll.load(run), "dice")
    assert [d.p for d in declared.differences] == [d.p_signed_rank for d in default.differences]
    assert [d.p for d in default.differences] == [d.p_sign_flip for d in default.differences]
    (folder / "plan.toml").write_text('test = "sign_flop"\n' + plan)
    with pytest.raises(UsageError, match=r"no test is named 'sign_flop'; did you mean 'sign_flip'"):
        compare(ll.load(folder), "dice")


def test_effect_sizes_point_to_the_better_side(run):
    results = ll.load(run)
    for metric, least in (("dice", 0.5), ("hd95", 0.0)):
        better = next(d for d in compare(results, metric).differences if d.loss == "dice")
        assert better.rank_biserial > least
        assert better.share_improved == better.improved / better.patients > least


def test_what_is_detectable_is_found_with_the_wanted_power(run):
    results = ll.load(run)
    (first, *_) = outlook(results, "dice", 0.02, power=0.9)
    (again, *_) = outlook(results, "dice", first.detectable_these_trainings, power=0.9)
    assert again.power_these_trainings == pytest.approx(0.9, abs=1e-6)
    (more, *_) = outlook(results, "dice", first.detectable_new_trainings, power=0.9)
    assert more.power_new_trainings == pytest.approx(0.9, abs=1e-6)
    needed = [n.new_trainings for n in first.needs if n.new_trainings is not None]
    assert needed == sorted(needed, reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--difference", "0"], "must be above 0"),
        (["--difference", "nan"], "must be above 0"),
        (["--difference", "0.1", "--power", "1"], "must lie between"),
        (["--difference", "0.1", "--metric", "dise"], "did you mean 'dice'?"),
        (["--difference", "0.1", "--baseline", "dice_c"], "did you mean 'dice_ce'?"),
    ],
)
def test_power_explains_mistakes_in_one_line(run, cli, words, message):
    code, out, err = cli("power", run, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_power_says_the_same_on_the_screen_and_as_json(run, cli):
    code, out, _ = cli("power", run, "--difference", "0.02")
    assert code == 0
    expected = outlook(ll.load(run), "dice", 0.02)
    text = " ".join(out.split())
    assert all(" ".join(sentence.split()) in text for entry in expected for sentence in outlook_sentences(entry))
    code, out, _ = cli("power", run, "--difference", "0.02", "--json")
    assert code == 0
    assert [e["detectable_these_trainings"] for e in json.loads(out)] == [
        e.detectable_these_trainings for e in expected
    ]


def test_compare_shows_ranks_luck_and_sources(run, cli):
    _, out, _ = cli("compare", run, "--unpaired")
    comparison = compare(ll.load(run), "dice")
    assert " ".join(luck_sentence(comparison.luck).split()) in " ".join(out.split())
    for words in ("95 %, new", "one seed in", "Of the variance of a single score", "rank-sum"):
        assert words in out
    assert "rank-sum" not in cli("compare", run)[1]
    record = json.loads(cli("compare", run, "--json")[1])
    assert record["luck"]["change"] == comparison.luck.change
    assert [r["best"] for r in record["ranks"]] == [r.best for r in comparison.ranks]
    assert record["differences"][0]["p_rank_sum"] == comparison.differences[0].p_rank_sum


def test_shares_never_round_to_never_or_always():
    assert [percent(x) for x in (0.0, 0.004, 0.41, 0.997, 1.0, None)] == [
        "0 %",
        "< 1 %",
        "41 %",
        "> 99 %",
        "100 %",
        "–",
    ]
    assert luck_sentence(Luck(0.41, (), 5, 8)) == "With one seed, the winner would change in 41 % of re-runs."


def test_what_other_seeds_could_undo_is_not_called_evidence(run):
    from dataclasses import replace

    from lesionloss.statistics import Interval

    clear = next(d for d in compare(ll.load(run), "dice").differences if d.loss == "dice")
    assert clear.evidence == "better"
    lucky = replace(clear, interval_trainings=Interval(-0.01, 0.2))
    assert lucky.evidence is None
    assert "other seeds could undo it ([−.010, +.200])" in difference_sentence(lucky)
    assert replace(clear, interval_trainings=None).evidence == "better"
