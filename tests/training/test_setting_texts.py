"""Settings of a recipe: later fields and new names keep older draws; optimisers and schedules follow their texts."""

import math
from dataclasses import replace
from typing import Any

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
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.training.loop import train, weights_hash
from lesionloss.training.optimisers import check_optimiser, read_optimiser
from lesionloss.training.samplers import check_sampler
from lesionloss.training.schedules import Plateau, ScoreProgress, check_schedule, learning_rate
from lesionloss.training.trial import TrainingRecipe, flat_record

# --- what older plans rely on ---------------------------------------------------------------------------------------


def test_older_trials_keep_their_names_and_records() -> None:
    assert (TRIAL.key, TRIAL.pair) == (
        "dd0f42b56e0ee2a4",
        "7f0c6ed9774948c4",
    )  # as before the later fields and their new names
    later = ("optimiser", "schedule", "sampler", "clip_norm", "accumulate", "validation_share", "start_from", "freeze")
    assert not set(later) & set(flat_record(TRIAL))


def test_every_later_field_counts_once_it_is_not_at_its_default() -> None:
    changes: dict[str, Any] = {
        "optimiser": "sgd",
        "schedule": "constant",
        "sampler": "whole",
        "clip_norm": 1.0,
        "accumulate": 2,
        "deep_weights": (1.0, 0.5),
        "consistency_from": 1,
        "validation_share": 0.5,
        "check_every": 7,
        "patience": 1,
        "start_from": "a",
        "start_layout": "b",
        "start_sha256": "c",
        "freeze": ("x.*",),
        "pretrain": "synth(patients=1)",
        "augment": ("flip",),
        "empty": "skip",
        "average_background": True,
        "pooled": True,
        "loss_class_weights": (1.0, 2.0),
        "class_weights": (("lesion", 2.0),),
        "whole_image": True,
        "mix": ("x",),
        "deep_upsampling": True,
        "decision": "argmax",
        "merge": "mean",
        "merge_of": "probabilities",
        "monitor": "loss",
        "keep": "last",
        "split_by": "case",
        "initial": "torch",
    }
    later = {
        field for field, value in vars(TrainingRecipe).items() if not field.startswith("_") and not callable(value)
    }
    assert later <= set(changes)
    keys = {replace(TRIAL, recipe=replace(RECIPE, **{field: value})).key for field, value in changes.items()}
    pairs = {replace(TRIAL, recipe=replace(RECIPE, **{field: value})).pair for field, value in changes.items()}
    assert len(keys | {TRIAL.key}) == len(pairs | {TRIAL.pair}) == len(changes) + 1
    assert flat_record(replace(TRIAL, recipe=replace(RECIPE, optimiser="sgd")))["optimiser"] == "sgd"


def test_the_defaults_train_as_the_plain_loop_does(cases: list[PreparedCase]) -> None:
    """The loop of the first plans, written out: the same bits."""
    recipe, stream = RECIPE, (TRIAL.pair,)
    network = channels_last(build_network(TRIAL.network, torch_generator(*stream, "weights"))).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    criterion = build(TRIAL.loss)
    named = {case.name: case for case in cases}
    draws = WeightedCrop(recipe.patch, recipe.jitter, recipe.foreground_share).over(named)
    for step in range(1, recipe.steps + 1):
        batch = make_batch(named, draws, CHEAP, stream, step, recipe.batch)
        seed_dropout(network, torch_generator(*stream, "dropout", step))
        x = torch.from_numpy(batch.images).contiguous(memory_format=torch.channels_last_3d)
        optimiser.zero_grad()
        criterion(network(x), torch.from_numpy(batch.references)).backward()
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * (1 - (step - 1) / recipe.steps) ** recipe.poly_power
        optimiser.step()
    assert weights_hash(train(TRIAL, cases).network) == weights_hash(network)


# --- texts ------------------------------------------------------------------------------------------------------------


def test_texts_are_read_and_written_back() -> None:
    assert check_optimiser(" sgd( nesterov = True, momentum = 0.9 ) ") == "sgd(nesterov=True)"
    assert check_schedule("cosine(warm_up=3)") == "cosine(warm_up=3)"
    assert check_sampler("grid(flipped=None)") == "grid(flipped=None)"
    for text, message in (
        ("adma", "no optimiser is named 'adma'; did you mean 'adam'"),
        ("adam(beta=0.1)", "optimiser adam has no setting 'beta'; did you mean 'beta"),
        ("sgd(momentum=2)", "optimiser sgd: momentum must be a number from 0 to 0.999999; got 2"),
    ):
        with pytest.raises(UsageError) as caught:
            check_optimiser(text)
        assert message in str(caught.value)
    with pytest.raises(UsageError, match="schedule constant has no settings; got x=1"):
        check_schedule("constant(x=1)")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("adam", torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0}),
        ("adamw(weight_decay=0.05)", torch.optim.AdamW, {"weight_decay": 0.05}),
        ("sgd(momentum=0.99, nesterov=True)", torch.optim.SGD, {"momentum": 0.99, "nesterov": True}),
        ("sgd(momentum=0, nesterov=True)", torch.optim.SGD, {"momentum": 0, "nesterov": False}),
    ],
)
def test_optimisers_are_those_of_torch(text: str, kind: type, expected: dict[str, object]) -> None:
    made = read_optimiser(text).over([nn.Parameter(torch.zeros(1))], 0.1)
    assert type(made) is kind
    assert {key: made.param_groups[0][key] for key in expected} == expected


def test_schedules_begin_and_end_where_they_say() -> None:
    recipe = replace(RECIPE, steps=100, learning_rate=2.0)

    def rates(text: str) -> list[float]:
        return [learning_rate(replace(recipe, schedule=text), step) for step in range(1, 101)]

    assert set(rates("constant")) == {2.0}
    assert rates("polynomial")[50] == 2.0 * 0.5**0.9
    cosine = rates("cosine(last=0.1)")
    assert cosine[0] == 2.0
    assert cosine[50] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert 0.2 < cosine[-1] < 0.21
    warm = rates("cosine(warm_up=9)")
    assert warm[0] == pytest.approx(0.2)
    assert max(warm) == warm[9] == 2.0
    assert learning_rate(replace(recipe, schedule="plateau(factor_each=0.5)"), 7, drops=3) == 0.25


def test_progress_counts_validations_without_a_better_score() -> None:
    schedule, progress = Plateau(patience=2), ScoreProgress()
    drops = []
    for step, score in enumerate([0.5, 0.4, 0.5, math.nan, 0.3, 0.6, 0.1], 1):
        progress = progress.after(score, step, schedule)
        drops.append(progress.drops)
    assert drops == [0, 0, 1, 1, 2, 2, 2]
    assert (progress.best, progress.best_step, progress.checks) == (0.6, 6, 1)
    assert progress.exhausted(replace(RECIPE, patience=1))
    assert not progress.exhausted(replace(RECIPE, patience=2))
    assert not progress.exhausted(RECIPE)
