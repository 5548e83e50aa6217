"""Several primary metrics in a declared order."""

from dataclasses import replace

import numpy as np
import pytest

from lesionloss.core.randomness import numpy_generator
from lesionloss.report.declared_order import confirmed, order_sentence
from lesionloss.statistics import compare_losses
from made_scores import made_scores


def compared(metric, shifts, stepwise=False):
    """Losses b, c, ... that differ from a by `shifts`, in 20 patients, 5 folds, 2 seeds."""
    names = "abcdefgh"[: len(shifts) + 1]
    own = {name: 0.5 + 0.01 * numpy_generator(metric, name).normal(size=(20, 2)) for name in names}
    tables = {name: own[name] + shift for name, shift in zip(names, (0, *shifts), strict=True)}
    scores = made_scores(tables, metric=metric)
    return compare_losses(replace(scores, rules=replace(scores.rules, stepwise=stepwise)))


def test_a_metric_counts_for_a_loss_only_if_all_before_it_are_decided():
    dice, lesion_f1 = compared("dice", (0.1, -0.1, 0.0)), compared("lesion_f1", (0.1, 0.0, 0.1))
    assert [d.verdict for d in lesion_f1.differences] == ["better", "undecided", "better"]
    assert confirmed([dice, lesion_f1]) == {"b": ("better", "better"), "c": ("worse",), "d": ()}
    assert order_sentence([dice, lesion_f1]) == (
        "Primary metrics in the declared order: Dice, then Lesion-wise F1. Confirmed in all: b (better, better). "
        "Confirmed only in Dice: c (worse). Confirmed in none: d."
    )


def test_nothing_is_said_of_one_metric_or_without_verdicts():
    assert order_sentence([compared("dice", (0.1,))]) == ""
    one_seed = compare_losses(made_scores({"a": np.full((8, 1), 0.5), "b": np.full((8, 1), 0.6)}))
    assert order_sentence([one_seed, one_seed]) == ""


def test_every_loss_keeps_its_own_share_of_the_level():
    """With Holm, a decided loss would pass its share on to other losses, and have none left for the next metric."""
    found, holm = (compared("dice", (0.1, 0.004, 0.001), stepwise) for stepwise in (False, True))
    for d in found.differences:
        assert d.p_holm == pytest.approx(min(1.0, 3 * d.p))
        assert d.correction == "Bonferroni"
    assert holm.differences[2].p_holm < found.differences[2].p_holm
