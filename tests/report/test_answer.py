"""The sentences of the answer, each with the data that lead to it."""

import re

import numpy as np
import pytest
from matplotlib.text import Text

from lesionloss.core.number_text import number
from lesionloss.core.randomness import numpy_generator
from lesionloss.report.answer import answer, beside_the_verdict
from lesionloss.report.forest_chart import NARROW, WIDE, forest_chart, forest_words, missing_words
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.power_wording import design_sentence
from lesionloss.report.verdict_sentence import verdict_sentence
from lesionloss.report.wording import difference_sentence
from lesionloss.statistics import StudyDesign, compare_losses
from lesionloss.statistics.comparison import interim_level
from made_scores import made_scores

CLAIMS = re.compile(r"\b[Bb]etter than|\b[Ww]orse than|[Ee]quivalent to")


def dice(shift=0.0, name="", patients=20, seeds=3, sd=0.01, fold_effect=0.0, folds=5):
    """Dice of a loss on patients who are easy or hard for all; its own spread, and the effects of its folds."""
    common = numpy_generator("patients").uniform(0.5, 0.8, size=(patients, 1))
    draw = numpy_generator("own", name)
    by_fold = fold_effect * np.linspace(-1, 1, folds)[np.arange(patients) % folds, None]
    return common + shift + by_fold + sd * draw.normal(size=(patients, 1)) + 0.002 * draw.normal(size=(patients, seeds))


def said(*tables, level=0.05, **options):
    names = ("dice_ce", "dice", "hytver", "focal")
    comparison = compare_losses(made_scores(dict(zip(names, tables, strict=False)), **options), level)
    first, second = answer(comparison, primary=True)
    return first, second, comparison


ONE_SEED = "No verdict: with one seed in a fold, the effect of a loss cannot be separated from chance."


@pytest.mark.parametrize(
    ("tables", "options", "sentence"),
    [
        ([dice(0.1, "a")], {}, "dice is better than dice_ce in Dice."),
        ([dice(0.001, "a", sd=0.002)], {"margin": 0.02}, "dice is equivalent to dice_ce in Dice, within ±.02."),
        ([dice(0, "a")], {}, "Undecided: it is not shown whether dice or dice_ce is better in Dice."),
        (
            [dice(0.1, "a"), dice(-0.1, "b"), dice(0.0, "c", sd=0.05)],
            {},
            "dice is better than dice_ce in Dice; hytver is worse; focal is undecided.",
        ),
        (
            [dice(-0.1, "a"), dice(-0.1, "b")],
            {},
            "No loss is shown to be better than dice_ce in Dice: dice and hytver are worse.",
        ),
        (
            [dice(0.0, "a"), dice(0.0, "b")],
            {},
            "Undecided: no loss is shown to be better or worse than dice_ce in Dice.",
        ),
        ([dice(0.1, "a")], {"folds": 2}, "No verdict: two folds say almost nothing about new training sets."),
        (
            [dice(0.1, "a")],
            {"missing": [("dice", 0, 3)]},
            "No verdict yet: only 29 of 30 trials have ended.",
        ),
        ([], {}, "There is no loss beside dice_ce, so there is nothing to compare in Dice."),
    ],
)
def test_the_verdict_is_one_sentence(tables, options, sentence):
    _, _, comparison = said(dice(), *tables, **options)
    assert verdict_sentence(comparison, primary=True) == sentence
    assert CLAIMS.search(beside_the_verdict(comparison, primary=True)) is None


def test_the_plot_says_what_is_missing():
    one, other = dice(seeds=1), dice(0.1, "a", seeds=1)
    _, _, comparison = said(one, other)
    assert verdict_sentence(comparison, primary=True) == ONE_SEED
    assert missing_words(comparison).startswith("Missing: thin lines and verdicts, because with one seed in a fold")
    assert re.match(r"dice \+\.\d+ \[.*\], no verdict\. Missing", forest_words(comparison))
    figures = [forest_chart(comparison, {"dice": LossStyle("#0072b2", "s")}, shape) for shape in (WIDE, NARROW)]
    for figure in figures:
        words = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
        for each in (
            "no verdict",
            "Dice: difference from dice_ce",
            "95 %, new training runs too",
            "← worse",
            "Missing",
        ):
            assert each in words
    assert missing_words(said(dice(), dice(0.1, "a"))[2]) == ""


def test_a_better_loss_is_named_with_its_interval_and_p():
    first, second, _ = said(dice(), dice(0.1, "a"))
    assert re.match(
        r"dice scored highest in Dice: \.\d{3}, against \.\d{3} for dice_ce, on the 20 patients of both\. Better than "
        r"dice_ce: \+\.\d{3} \[\+\.\d{3}, \+\.\d{3}\], better in 20 of 20 patients, p < \.001\.",
        first,
    )
    assert re.match(
        r"Over training sets and seeds the difference is \+\.\d+ with a standard error of \.\d+ "
        r"\(5 folds and 3 seeds\)\. Two runs with one seed each would have different best losses 0 % .*71 %\]\.$",
        second,
    )


def test_a_worse_loss_leaves_the_baseline_the_best():
    first, _, _ = said(dice(), dice(-0.1, "a"))
    assert first.startswith("dice_ce, the baseline, scored highest in Dice: ")
    assert " Worse than dice_ce: −.09" in first
    assert "better in 0 of 20 patients" in first


def test_several_losses_are_listed_by_verdict():
    first, _, _ = said(dice(), dice(0.1, "a"), dice(-0.1, "b"), dice(0.0, "c", sd=0.05))
    assert "Better than dice_ce: dice (p < .001 after Holm). Worse than dice_ce: hytver (p < .001 after Holm)." in first
    assert first.endswith("Undecided: focal.")


def test_nothing_is_claimed_of_equal_losses():
    first, _, comparison = said(dice(), dice(0.0, "a"), dice(0.0, "b"))
    assert first.endswith("Undecided: all losses.")
    assert CLAIMS.search(first) is None
    sentence = difference_sentence(comparison.differences[0])
    assert sentence.startswith("Undecided: ")
    assert sentence.endswith("Every value inside the interval remains possible.")


def test_equivalent_losses_are_called_so_with_the_margin():
    first, _, _ = said(dice(), dice(0.001, "a", sd=0.002), margin=0.02)
    assert re.search(r"Equivalent to dice_ce: [+−]\.\d+ \[−\.\d+, \+\.\d+\] lies within the margin of ±\.02\.", first)


def test_a_loss_that_cannot_be_much_worse_is_called_not_worse():
    first, _, _ = said(dice(), dice(0.0, "a", sd=0.02), margin=0.01)
    assert re.search(r"Undecided, but not worse by \.01 or more: [+−]\.\d+ \[", first)


@pytest.mark.parametrize("folds", [5, 20])
def test_with_one_seed_only_these_networks_are_known(folds):
    first, second, comparison = said(dice(seeds=1), dice(0.1, "a", seeds=1), folds=folds)
    assert first.endswith(
        "These networks differ from those of dice_ce on new patients: dice (p < .001); whether the losses do is "
        "unknown with one seed: run at least 2 seeds."
    )
    assert CLAIMS.search(first) is None
    assert second == ""
    assert re.match(
        r"These networks differ on new patients \(\+\.\d+ \[.*\], p < \.001\); whether the losses do is unknown: run "
        r"at least 2 seeds\.$",
        difference_sentence(comparison.differences[0]),
    )


def test_with_one_seed_and_no_difference_more_seeds_are_asked_for():
    first, _, _ = said(dice(seeds=1), dice(0.0, "a", seeds=1, sd=0.05))
    assert "There is no evidence that these networks differ on new patients; whether the losses do is unknown" in first
    assert re.search(r"run at least (\d+|20) seeds(, or more folds)?\.$", first)


def test_two_folds_say_almost_nothing_but_with_repeats():
    two, three = (dice(), dice(0.05, "a")), (dice(), dice(0.05, "a"), dice(0.0, "b"))
    first, second, comparison = said(*two, folds=2)
    assert first.endswith(
        "These networks differ from those of dice_ce on new patients: dice (p < .001); whether the losses do is "
        "unknown with two folds: take five or more, or repeats."
    )
    assert second.startswith("Two runs with one seed each")
    assert comparison.differences[0].interval_new_training_runs is None
    assert said(*two, folds=2, repeats=4)[2].differences[0].verdict == "better"
    assert {(rank.low, rank.high) for rank in said(*three, folds=2)[2].ranks} == {(1, 3)}


def test_one_split_says_nothing_about_new_training_sets():
    first, second, comparison = said(dice(), dice(0.1, "a"), folds=1)
    assert first.endswith("whether the losses do is unknown with one division of the patients: take folds.")
    assert "difference" not in second
    assert "the patients were divided only once" in difference_sentence(comparison.differences[0])


def test_differences_by_training_sets_are_named():
    first, _, _ = said(dice(), dice(0.04, "a", fold_effect=0.05))
    assert "These networks differ on new patients (p " in first
    assert CLAIMS.search(first) is None


def test_an_unfinished_run_has_no_verdict():
    missing = [("hytver", fold, 3) for fold in range(5)]
    first, _, comparison = said(dice(), dice(0.1, "a"), dice(0.0, "b"), missing=missing)
    assert first.startswith("Interim, 40 of 45 trials. dice scored highest")
    assert first.endswith("There are no verdicts before all trials have ended.")
    assert CLAIMS.search(first) is None
    assert "There is no verdict before all trials have ended." in difference_sentence(comparison.differences[0])


def test_an_interim_look_names_its_level():
    tables, missing = (dice(), dice(0.1, "a"), dice(0.0, "b")), [("hytver", fold, 3) for fold in range(5)]
    scores = made_scores(dict(zip(("dice_ce", "dice", "hytver"), tables, strict=True)), missing=missing)
    first, _, _ = said(*tables, missing=missing, level=interim_level(scores))
    assert (
        f"Interim, 40 of 45 trials. Verdicts are at the level of this look, {number(interim_level(scores), 5)}."
        in first
    )
    assert "Better than dice_ce: dice" in first


def test_failed_trials_are_named():
    failed = [("dice", fold, 1) for fold in range(2)]
    first, second, _ = said(dice(), dice(0.1, "a"), failed=failed)
    assert first.endswith("Failed trials: 2 of dice.")
    assert "(5 folds and 2 seeds)" in second
    first, _, _ = said(dice(seeds=2), dice(0.1, "a", seeds=2), failed=failed)
    assert "unknown with one seed left in a fold: run at least" in first
    first, _, comparison = said(dice(), dice(0.1, "a"), failed=[("dice", 0, seed) for seed in (1, 2, 3)])
    assert "on the 16 patients of both" in first
    assert difference_sentence(comparison.differences[0]).startswith(
        "All trials of a fold failed, so there is no verdict. In the other folds: +"
    )


def test_failures_too_rare_to_be_seen_are_named():
    first, _, comparison = said(dice(), dice(0.05, "a"), dice(-0.3, "b"))
    assert "Failures too rare to be seen in 20 patients could undo the verdict on dice." in first
    assert re.search(
        r"dice never failed, which leaves failures on up to 14 % possible; [67] % would undo this\.$",
        difference_sentence(comparison.differences[0]),
    )


def test_posterior_probabilities_are_said_where_they_decide():
    first, _, _ = said(dice(), dice(0.1, "a"), margin=0.01, decision="bayesian")
    assert re.search(
        r"Better than dice_ce: better > 99 %, equivalent < 1 %, worse < 1 % \(posterior prob.*, margin \.01\)",
        first,
    )


def test_equal_scores_and_undefined_ones_are_said_to_be_so():
    table = dice()
    first, _, _ = said(table, table + 1e-15)
    assert "dice and dice_ce have the same mean Dice" in first
    assert first.endswith("Undecided: equal in 20 patients.")
    first, second, comparison = said(table, np.full_like(table, np.nan))
    assert first == "No patient has a defined value of dice_ce and of another loss in Dice."
    assert second == ""
    assert "No patient has a defined value of both dice and dice_ce" in difference_sentence(comparison.differences[0])
    assert said(table)[0] == "There is no loss beside dice_ce, so there is nothing to compare in Dice."


def test_five_patients_can_show_nothing():
    first, _, _ = said(dice(patients=5), dice(0.1, "a", patients=5))
    assert "Undecided: with 5 patients no test can reach p < .05." in first
    first, _, comparison = said(dice(patients=5, seeds=1), dice(0.1, "a", patients=5, seeds=1))
    assert difference_sentence(comparison.differences[0]).startswith(
        "With 5 patients no test can show that these networks differ (+"
    )
    assert said(dice(patients=1), dice(0.1, "a", patients=1), folds=1)[0].endswith(
        "With 1 patient there is no interval and no test."
    )


@pytest.mark.parametrize(
    ("design", "losses", "words"),
    [
        (StudyDesign(20, 5, 1), 3, "none on the losses with one seed"),
        (StudyDesign(20, 2, 3), 3, "none on the losses with two folds; give five or more, or repeats"),
        (StudyDesign(20, 1, 3), 3, "none on the losses with one division of the patients"),
        (StudyDesign(5, 5, 3), 2, "none with 5 patients, 5 folds and 1 comparison; take more patients"),
        (StudyDesign(20, 5, 3), 2, "on a difference of 0.8 standard deviations between patients or more"),
        (StudyDesign(20, 2, 3, 5), 2, "with 20 patients, 2 folds, 5 repeats and 1 comparison, on a difference of 0.8"),
        (StudyDesign(40, 5, 3), 4, "One standard deviation needs 4 folds and two seeds."),
        (StudyDesign(12, 5, 3), 4, "With 12 patients no number of folds can show one standard deviation."),
        (StudyDesign(20, 5, 3), 1, "none, there is one loss"),
    ],
)
def test_a_plan_says_what_it_can_show(design, losses, words):
    assert words in design_sentence(design, losses)


def test_a_description_has_no_winner():
    first, second, comparison = said(dice(), dice(0.1, "a"), metric="volume_mm3", worst=None)
    assert first == "Predicted volume is a description, on 20 patients: no value of it is better than another."
    assert second == ""
    assert "so nothing is tested" in difference_sentence(comparison.differences[0])


def test_signed_errors_are_named_as_they_are_tested():
    sign = np.where(np.arange(20) % 2, 1.0, -1.0)[:, None] * np.ones((20, 3))
    noise = numpy_generator("noise").normal(size=(20, 3))
    first, _, _ = said(100 * sign + noise, 1000 * sign + noise, metric="volume_difference_mm3", worst=None)
    assert re.match(
        r"dice_ce, the baseline, scored nearest to 0 in .*mean absolute value\): 100, against 1000 for dice", first
    )
    assert "Worse than dice_ce" in first
