"""What a recipe changes in the loop: accumulation, samplers, validation, deep supervision, consistency, weights."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from example_trials import RECIPE, TRIAL
from lesionloss import build
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.data.batches.augmentation import CHEAP
from lesionloss.data.batches.patch_samplers import WeightedCrop
from lesionloss.data.batches.stream import make_batch
from lesionloss.data.prepared import PreparedCase
from lesionloss.networks import Outputs, build_network
from lesionloss.networks.consistency import visit_consistency
from lesionloss.training import training_run, training_step
from lesionloss.training.forward import MicroBatch, loss_of
from lesionloss.training.loop import TrainingFailed, train, weights_hash
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.trial import Trial
from lesionloss.training.validation import validation_score, validation_split
from patch_cases import random_case

SMALL = replace(TRIAL, network="unet3d(filters=2, levels=2)", recipe=replace(RECIPE, patch=(8, 8, 8)))


def with_recipe(**changes: Any) -> Trial:
    return replace(SMALL, recipe=replace(SMALL.recipe, **changes))


def losses(trial: Trial, cases: list[PreparedCase]) -> list[float]:
    return [step.loss for step in train(trial, cases).history]


def test_batches_in_parts_give_the_gradient_of_one_batch(cases: list[PreparedCase]) -> None:
    trial = with_recipe(steps=1, batch=2, accumulate=2, optimiser="sgd(momentum=0)")
    by_hand = one_step_by_hand(trial, cases, clip=math.inf)
    for ours, theirs in zip(train(trial, cases).network.parameters(), by_hand, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_the_gradient_is_clipped_to_its_norm(cases: list[PreparedCase]) -> None:
    trial = with_recipe(steps=1, clip_norm=1e-3, optimiser="sgd(momentum=0)", learning_rate=1.0)
    by_hand = one_step_by_hand(trial, cases, clip=1e-3)
    for ours, theirs in zip(train(trial, cases).network.parameters(), by_hand, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def one_step_by_hand(trial: Trial, cases: list[PreparedCase], clip: float) -> list[torch.Tensor]:
    """Weights after a step of plain gradient descent on one batch of all patches."""
    recipe, stream = trial.recipe, (trial.pair,)
    network = build_network(trial.network, torch_generator(*stream, "weights"))
    count = recipe.batch * recipe.accumulate
    named = {case.name: case for case in cases}
    draws = WeightedCrop(recipe.patch, recipe.jitter, recipe.foreground_share).over(named)
    batch = make_batch(named, draws, CHEAP, stream, 1, count)
    build(trial.loss)(network(torch.from_numpy(batch.images)), torch.from_numpy(batch.references)).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    factor = min(1.0, clip / norm)
    assert (factor < 1) == (clip < math.inf)  # the case that the test is about
    return [
        parameter.detach() - recipe.learning_rate * factor * gradient
        for parameter, gradient in zip(network.parameters(), gradients, strict=True)
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers: int, cases: list[PreparedCase]) -> None:
    alone, helped = train(SMALL, cases), train(SMALL, cases, workers=workers)
    assert weights_hash(alone.network) == weights_hash(helped.network)
    assert alone.batches_hash == helped.batches_hash


def test_samplers_and_augmentations_by_text_reach_the_batches(cases: list[PreparedCase]) -> None:
    seen = set()
    for changes in (
        {},
        {"augment": False},
        {"augment": ("rotate90",)},
        {"sampler": "positive_negative(negative=2)"},
        {"sampler": "grid(overlap=4)"},
        {"sampler": "whole", "patch": (32, 32, 32)},
    ):
        seen.add(train(with_recipe(steps=1, **changes), cases).batches_hash)
    assert len(seen) == 6
    assert sampler_of(replace(RECIPE, sampler="whole")).over({case.name: case for case in cases[:0]} or {"a": small()})
    assert augmentation_of(replace(RECIPE, augment=("flip", "hytver")))[0] == augmentation_of(RECIPE)[0]


def small() -> PreparedCase:
    shape = (8, 8, 8)
    brain = np.ones(shape, bool)
    reference = np.zeros(shape, np.uint8)
    image = np.zeros((3, *shape), np.float32)
    names = ("baseline", "followup", "difference")
    return PreparedCase("a", "a", image, names, reference, brain, np.eye(4), (0, 0, 0), shape)


def test_masked_voxels_are_ignored(cases: list[PreparedCase]) -> None:
    reference = cases[0].reference.copy()
    ignore = np.zeros(reference.shape, bool)
    ignore[:, :, ::2] = True
    reference[ignore & cases[0].brain] ^= 1
    masked = replace(cases[0], ignore=ignore)
    masked_wrong = replace(masked, reference=np.where(ignore, reference, cases[0].reference))
    # Centres are drawn among lesion voxels, so only draws from the whole brain are the same for both.
    trial = with_recipe(foreground_share=0.0)
    assert losses(trial, [masked]) == losses(trial, [masked_wrong])
    assert losses(trial, [masked]) != losses(trial, [cases[0]])


def test_validation_is_split_by_patient_and_never_leaves_a_side_without_lesion(cases: list[PreparedCase]) -> None:
    for seed in range(20):
        learn, aside = validation_split(cases, 0.3, ("x", seed))
        assert len(aside) == 1
        assert sorted(case.name for case in (*learn, *aside)) == [case.name for case in cases]
        assert all(any(case.reference.any() for case in side) for side in (learn, aside))
    assert len({validation_split(cases, 0.3, ("x", seed))[1][0].name for seed in range(20)}) > 1
    with pytest.raises(UsageError, match="leaves no patient to train on"):
        validation_split(cases, 0.9, ("x",))


def test_training_stops_early_and_keeps_the_best_weights(
    cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.7, 0.3, 0.2, 0.9])
    kept: list[str] = []

    def fake(*arguments: object) -> object:
        def score(network: nn.Module) -> float:
            kept.append(weights_hash(network))
            return next(scores)

        return score

    monkeypatch.setattr(training_run, "validation_score", fake)
    trained = train(with_recipe(steps=20, validation_share=0.3, check_every=2, patience=2), cases)
    assert len(trained.history) == 8
    assert (trained.best_step, trained.best_score) == (4, 0.7)
    assert weights_hash(trained.network) == kept[1]


def test_the_validation_score_is_the_dice_of_whole_cases(cases: list[PreparedCase]) -> None:
    trained = train(with_recipe(steps=4, validation_share=0.3, check_every=2), cases)
    assert trained.best_step in (2, 4)
    assert 0 <= trained.best_score <= 1
    with pytest.raises(UsageError, match="patience needs validation patients"):
        train(with_recipe(patience=2), cases)


class Echo(nn.Module):
    """Logits: the second channel."""

    axes, multiple = 3, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:2]


def test_the_monitored_loss_is_that_of_whole_cases_without_ignored_voxels(cases: list[PreparedCase]) -> None:
    ignore = np.zeros(cases[0].shape, dtype=bool)
    ignore[:, ::2] = True
    case = replace(cases[0], ignore=ignore)
    recipe = replace(RECIPE, window=case.shape, monitor="loss")
    found = validation_score([case], recipe, build("dice_ce"), "cpu")(Echo())
    logits, reference = torch.from_numpy(case.image[1:2])[None], torch.from_numpy(case.reference)[None]
    expected = build("dice_ce")(logits, reference, valid=torch.from_numpy(~ignore)[None])
    assert found == pytest.approx(-float(expected), abs=1e-6)
    trained = train(with_recipe(steps=4, validation_share=0.3, check_every=2, monitor="loss"), cases)
    assert trained.best_score < 0
    assert trained.best_step in (2, 4)


def test_the_last_weights_can_be_kept_whatever_validation_says(
    cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def falling(*arguments: object) -> object:
        def score(network: nn.Module) -> float:
            seen.append(weights_hash(network))
            return -float(len(seen))

        return score

    monkeypatch.setattr(training_run, "validation_score", falling)
    trained = train(with_recipe(steps=6, validation_share=0.3, check_every=2, keep="last"), cases)
    assert (trained.best_step, weights_hash(trained.network)) == (6, seen[-1])
    assert math.isnan(trained.best_score)


def test_validation_may_be_split_by_case() -> None:
    frames = [replace(random_case(name), patient="one video") for name in "abcdef"]
    with pytest.raises(UsageError, match="leaves no patient to train on"):
        validation_split(frames, 0.3, ("x",))
    learn, aside = validation_split(frames, 0.3, ("x",), "case")
    assert (len(learn), len(aside)) == (4, 2)


def part_of(labels: torch.Tensor) -> MicroBatch:
    return MicroBatch(labels[:, None].float(), labels, None, torch.ones(3), {})


def test_deep_supervision_is_used_where_a_network_gives_it(cases: list[PreparedCase]) -> None:
    sides = (8, 4, 2)
    levels = [torch.randn((1, 1, side, side, side), generator=torch_generator("level", side)) for side in sides]
    labels = torch.zeros((1, 8, 8, 8), dtype=torch.uint8)
    labels[0, 2:4, 2:4, 2:4] = 1
    outputs, criterion = Outputs(levels[0], tuple(levels[1:])), build("dice")
    coarse = [labels, labels[:, ::2, ::2, ::2], labels[:, ::4, ::4, ::4].clone()]
    coarse[2][0, 0, 0, 0] = 1  # the lesion lies under this coarse voxel, but not at its corner
    values = [float(criterion(level, label)) for level, label in zip(levels, coarse, strict=True)]
    recipes = (RECIPE, ONLY_FINE, UPSAMPLED)
    found = [float(loss_of(criterion, outputs, part_of(labels), recipe, 1)) for recipe in recipes]
    assert found[0] == pytest.approx((4 * values[0] + 2 * values[1] + values[2]) / 7)
    assert found[1] == pytest.approx(values[0])
    fine = [torch.nn.functional.interpolate(level, size=(8, 8, 8), mode="trilinear") for level in levels]
    assert found[2] == pytest.approx(sum(float(criterion(level, labels)) for level in fine))
    with pytest.raises(UsageError, match="deep_weights are given, but the network has one output only"):
        train(with_recipe(deep_weights=(1.0, 0.5)), cases)
    with pytest.raises(UsageError, match="deep_upsampling is given, but the network has one output only"):
        train(with_recipe(deep_upsampling=True), cases)


ONLY_FINE, UPSAMPLED = replace(RECIPE, deep_weights=(1.0, 0.0, 0.0)), replace(RECIPE, deep_upsampling=True)


def test_the_consistency_of_the_visits_is_added_from_its_step_on(cases: list[PreparedCase]) -> None:
    shape = (2, 1, 4, 4, 4)
    logits, baseline, followup = (torch.randn(shape, generator=torch_generator("logits", n)) for n in range(3))
    labels = torch.zeros((2, 4, 4, 4), dtype=torch.uint8)
    labels[0, 1] = 1
    outputs, recipe = Outputs(logits, (), baseline, followup), replace(RECIPE, consistency_from=100)
    criterion = build("dice")
    plain = criterion(logits, labels)
    assert torch.equal(loss_of(criterion, outputs, part_of(labels), recipe, 99), plain)
    term = visit_consistency(baseline, followup, labels)
    assert float(term) > 0
    assert torch.equal(loss_of(criterion, outputs, part_of(labels), recipe, 100), plain + term)
    assert torch.equal(loss_of(criterion, outputs, part_of(labels), RECIPE, 100), plain)
    base = replace(with_recipe(steps=2, patch=(16, 16, 16), consistency_from=1), network="longitudinal_vnet(filters=2)")
    assert all(math.isfinite(loss) for loss in losses(base, [cases[2]]))  # a case without lesion
    with pytest.raises(UsageError, match="consistency_from needs a network with a head for each visit"):
        train(with_recipe(consistency_from=1), cases)


def test_weights_of_a_file_and_frozen_parts(cases: list[PreparedCase], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trained = train(SMALL, cases)
    path = tmp_path / "begin.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in trained.network.state_dict().items()}, path)
    names = [name for name, _ in trained.network.named_parameters()]
    frozen = with_recipe(start_from=str(path), freeze=(names[0],))
    again = train(frozen, cases)
    assert again.weights_hash == weights_hash(trained.network)
    after, before = dict(again.network.named_parameters()), dict(trained.network.named_parameters())
    assert torch.equal(after[names[0]], before[names[0]])
    assert not torch.equal(after[names[-1]], before[names[-1]])


def test_a_loss_that_draws_from_the_global_generator_is_named(
    cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawing(*arguments: Any) -> torch.Tensor:
        return loss_of(*arguments) + 0 * torch.rand(())

    monkeypatch.setattr(training_step, "loss_of", drawing)
    with pytest.raises(UsageError, match=f"loss '{SMALL.loss}' draws from torch's global generator"):
        train(SMALL, cases)


def test_a_loss_that_is_not_finite_names_step_and_cases(cases: list[PreparedCase]) -> None:
    poisoned = cases[0].image.copy()
    poisoned[:] = np.nan
    with pytest.raises(TrainingFailed) as caught:
        train(SMALL, [replace(cases[0], image=poisoned)])
    assert "at step 1; cases of the batch: 001, 001" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_gradient_norm_is_that_before_the_limit(cases: list[PreparedCase]) -> None:
    for limit in (0.0, 1e-6):
        trained = train(replace(SMALL, recipe=replace(SMALL.recipe, steps=1, clip_norm=limit)), cases)
        left = torch.nn.utils.get_total_norm([p.grad for p in trained.network.parameters() if p.grad is not None])
        norm = trained.history[0].gradient_norm
        assert norm > 1e-5
        assert float(left) == pytest.approx(limit or norm, rel=0.02)
