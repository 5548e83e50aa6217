"""`[loss_options]`: one record for all losses of a plan, from the plan to the gradient."""

from dataclasses import replace

import pytest
import torch

from example_trials import RECIPE, TRIAL
from lesionloss.bench.plan import Plan
from lesionloss.bench.recipes import recipe_of
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.forward import criterion_of
from lesionloss.training.loop import train
from lesionloss.training.trial import recipe_record

OPTIONS = {"empty": "skip", "average_background": True, "pooled": True}


def test_the_options_of_a_plan_are_those_of_every_loss() -> None:
    plain = Plan.preset("quickstart")
    recipe = recipe_of(plain.changed({"loss_options": OPTIONS}), "cpu")
    assert {key: getattr(recipe, key) for key in OPTIONS} == OPTIONS
    options = criterion_of("dice_ce", recipe).options
    assert (options.skip_empty, options.average_background, options.pooled) == (True, True, True)
    assert not set(OPTIONS) & set(recipe_record(recipe_of(plain, "cpu")))  # at their defaults they are in no digest


def test_class_weights_of_a_plan_are_those_of_every_loss() -> None:
    weighted = Plan.preset("quickstart").changed({"loss_options": {"class_weights": [1, 2.5]}})
    recipe = recipe_of(weighted, "cpu")
    assert criterion_of("dice_ce", recipe).options.class_weights == (1, 2.5)
    assert "loss_class_weights" not in recipe_record(recipe_of(Plan.preset("quickstart"), "cpu"))
    with pytest.raises(UsageError, match=r"loss_options.class_weights: .*not all 0"):
        Plan.preset("quickstart").changed({"loss_options": {"class_weights": [0, 0]}})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UsageError, match=r"loss_options.empty: unknown name 'never'; known: count, skip"):
        Plan.preset("quickstart").changed({"loss_options": {"empty": "never"}})
    with pytest.raises(UsageError, match=r"unknown key loss_options.ignore_index"):
        Plan.preset("quickstart").changed({"loss_options": {"ignore_index": 3}})


@pytest.mark.parametrize("loss", ["dice(squared=True)", "topk_dice(k=50)"])
def test_classes_that_are_absent_weaken_the_gradient_unless_they_are_skipped(loss: str) -> None:
    logits = torch.randn(1, 9, 32, 32, generator=torch_generator("logits"))
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[:, 4:12, 4:12], labels[:, 20:30, 6:20] = 1, 2  # two of eight classes
    gradients = []
    for empty in ("count", "skip"):
        leaf = logits.clone().requires_grad_()
        recipe = replace(RECIPE, empty=empty)
        torch.autograd.backward(criterion_of(loss, recipe)(leaf, labels))
        assert leaf.grad is not None
        where = labels[0] > 0
        gradients.append(leaf.grad[0, 1:3][:, where])
    count, skip = gradients
    assert float(skip.norm() / count.norm()) == pytest.approx(4, rel=0.02)


def test_training_takes_the_options(cases: list[PreparedCase]) -> None:
    """With the background in the average, the first loss is another, on the same pair's own weights and batches."""
    trial = replace(TRIAL, recipe=replace(RECIPE, steps=1, average_background=True))
    with_background = train(trial, cases).history[0].loss
    without = train(replace(trial, recipe=replace(RECIPE, steps=1)), cases).history[0].loss
    assert with_background < 0.75 * without  # Dice of the background is nearly 0
