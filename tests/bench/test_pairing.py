"""Two losses of a pair share initial weights, batches, augmentation and dropout, bit for bit."""

from dataclasses import replace

import pytest
import torch

from example_trials import RECIPE, TRIAL
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.networks import build_network, seed_dropout
from lesionloss.training.loop import Step, TrainingFailed, train, weights_hash
from lesionloss.training.trial import flat_record


def test_key_sees_everything_and_pair_everything_but_the_loss() -> None:
    changes = (
        {"seed": 2},
        {"fold": 1},
        {"train": ("001",)},
        {"network": "unet3d"},
        {"recipe": replace(RECIPE, steps=4)},
        {"dataset": "other"},
    )
    for change in changes:
        other = replace(TRIAL, **change)
        assert other.key != TRIAL.key
        assert other.pair != TRIAL.pair
    other = replace(TRIAL, loss="hytver")
    assert other.key != TRIAL.key
    assert other.pair == TRIAL.pair
    assert flat_record(TRIAL)["key"] == TRIAL.key
    assert flat_record(TRIAL)["patch"] == [16, 16, 16]


def test_losses_of_a_pair_start_equal_and_see_equal_batches(cases: list[PreparedCase]) -> None:
    dice, hytver = (train(replace(TRIAL, loss=loss), cases) for loss in ("dice", "hytver"))
    assert dice.weights_hash == hytver.weights_hash
    assert dice.batches_hash == hytver.batches_hash
    assert weights_hash(dice.network) != weights_hash(hytver.network)
    other = train(replace(TRIAL, seed=2), cases)
    assert other.weights_hash != dice.weights_hash
    assert other.batches_hash != dice.batches_hash


def test_the_same_trial_twice_ends_with_the_same_bits(cases: list[PreparedCase]) -> None:
    first, second = train(TRIAL, cases), train(TRIAL, cases)
    assert weights_hash(first.network) == weights_hash(second.network)
    assert [step.loss for step in first.history] == [step.loss for step in second.history]


def test_looking_at_the_network_in_between_moves_nothing(cases: list[PreparedCase]) -> None:
    def disturb(step: Step) -> None:
        torch.rand(7)
        torch_generator("other", step.step)

    assert weights_hash(train(TRIAL, cases, after_step=disturb).network) == weights_hash(train(TRIAL, cases).network)


def test_dropout_is_shared_by_a_pair() -> None:
    network = build_network(TRIAL.network, torch_generator(TRIAL.pair, "weights")).train()
    x = torch.randn(2, 3, 16, 16, 16, generator=torch_generator("x"))
    outputs = []
    for loss in ("dice", "hytver"):
        seed_dropout(network, torch_generator(replace(TRIAL, loss=loss).pair, "dropout", 5))
        outputs.append(network(x))
    assert torch.equal(*outputs)


def test_a_loss_that_is_not_finite_stops_the_trial_with_the_cases(cases: list[PreparedCase]) -> None:
    wild = replace(TRIAL, loss="cross_entropy", recipe=replace(RECIPE, learning_rate=1e30, steps=20))
    with pytest.raises((TrainingFailed, ValueError), match=r"(?i)nan|inf|finite"):
        train(wild, cases)


def test_training_lowers_the_loss(cases: list[PreparedCase]) -> None:
    trial = replace(TRIAL, network="unet3d(filters=4)", recipe=replace(RECIPE, steps=40, learning_rate=1e-2))
    losses = [step.loss for step in train(trial, cases).history]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
