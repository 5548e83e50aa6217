"""Losses that train side by side on one stream of batches end with the bits of a loss that is trained alone."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from example_trials import RECIPE, TRIAL
from killed_training import RICH
from lesionloss import UsageError, Voxels, loss
from lesionloss.core.errors import DataError
from lesionloss.data.batches.stream import BatchStream, TrainingBatch
from lesionloss.data.prepared import PreparedCase
from lesionloss.losses import registry
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.loop import (
    Step,
    TrainingFailed,
    TrainingResult,
    TrialToTrain,
    train,
    train_together,
    weights_hash,
)
from lesionloss.training.training_step import StepBatch
from lesionloss.training.trial import Trial

LOSSES = ("dice", "hytver", "cross_entropy")


def of_losses(trial: Trial, *losses: str) -> list[Trial]:
    return [replace(trial, loss=text) for text in losses or LOSSES]


def bits(result: TrainingResult | Exception) -> dict[str, object]:
    assert isinstance(result, TrainingResult), result
    return {
        "weights": weights_hash(result.network),
        "hashes": (result.weights_hash, result.batches_hash, result.stop_points),
        "best": (result.best_step, repr(result.best_score)),
        "history": [repr(replace(step, seconds=0.0)) for step in result.history],
    }


SHORT = replace(RICH, network="unet3d(filters=2, levels=2)", recipe=replace(RICH.recipe, patch=(8, 8, 8), jitter=2))
STOPPING = replace(
    RECIPE, patch=(8, 8, 8), steps=16, validation_share=0.3, check_every=2, patience=2, monitor="loss", jitter=2
)
TRIALS = {
    "dropout": TRIAL,  # vnet
    "moments, accumulation, validation, plateau": SHORT,
    "deep supervision": replace(
        TRIAL, network="plain_unet(filters=2, levels=3)", recipe=replace(RECIPE, patch=(16, 16, 1), augment=False)
    ),
    "visits": replace(
        TRIAL, network="longitudinal_vnet(filters=2)", recipe=replace(RECIPE, steps=2, consistency_from=1)
    ),
    "early stopping": replace(TRIAL, network="unet3d(filters=2, levels=2)", recipe=STOPPING),
}


@pytest.mark.parametrize("name", TRIALS)
def test_every_loss_ends_with_the_bits_of_a_loss_alone(name: str, cases: list[PreparedCase]) -> None:
    trials = of_losses(TRIALS[name])
    together = train_together([TrialToTrain(trial) for trial in trials], cases)
    for trial, result in zip(trials, together, strict=True):
        assert bits(result) == bits(train(trial, cases))


def test_two_threads_and_workers_change_nothing_either(cases: list[PreparedCase]) -> None:
    trials = of_losses(replace(SHORT, recipe=replace(SHORT.recipe, steps=3)), "dice", "hytver")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = train_together([TrialToTrain(trial) for trial in trials], cases, workers=2)
        for trial, result in zip(trials, together, strict=True):
            assert bits(result) == bits(train(trial, cases))
    finally:
        torch.set_num_threads(before)


def test_losses_may_stop_early_at_different_steps(cases: list[PreparedCase]) -> None:
    recipe = replace(STOPPING, learning_rate=3e-2)
    trials = of_losses(
        replace(TRIALS["early stopping"], recipe=recipe), "dice", "cross_entropy", "tversky(fp=0.9, fn=0.1)"
    )
    together = train_together([TrialToTrain(trial) for trial in trials], cases)
    lengths = [len(result.history) for result in together if isinstance(result, TrainingResult)]
    assert len(set(lengths)) > 1, lengths
    for trial, result in zip(trials, together, strict=True):
        assert bits(result) == bits(train(trial, cases))


@pytest.fixture
def breaking_losses() -> Iterator[None]:
    calls = {"breaks": 0, "becomes_nan": 0}

    @loss("breaks", source="a test")
    def breaks(v: Voxels) -> Tensor:
        """Breaks: raises at its second call."""
        calls["breaks"] += 1
        if calls["breaks"] == 2:
            raise ZeroDivisionError("planted")
        return 1 - v.counts().tp

    @loss("becomes_nan", source="a test")
    def becomes_nan(v: Voxels) -> Tensor:
        """Becomes NaN: at its third call."""
        calls["becomes_nan"] += 1
        return v.counts().tp * (torch.nan if calls["becomes_nan"] == 3 else 1)

    yield
    registry.LOSSES.remove("breaks")
    registry.LOSSES.remove("becomes_nan")


def test_a_loss_that_fails_leaves_the_others_running(cases: list[PreparedCase], breaking_losses: None) -> None:
    trials = of_losses(TRIAL, "dice", "breaks", "becomes_nan", "hytver")
    seen: dict[str, list[int]] = {trial.loss: [] for trial in trials}

    def note(trial: Trial, step: Step) -> None:
        seen[trial.loss].append(step.step)

    orders = [TrialToTrain(trial, after_step=partial(note, trial)) for trial in trials]
    first, broken, undefined, last = train_together(orders, cases)
    assert isinstance(broken, ZeroDivisionError)
    assert isinstance(undefined, TrainingFailed)
    assert "at step 3; cases of the batch: " in str(undefined)
    for trial, result in ((trials[0], first), (trials[3], last)):
        assert bits(result) == bits(train(trial, cases))
    assert seen == {"dice": [1, 2, 3], "breaks": [1], "becomes_nan": [1, 2], "hytver": [1, 2, 3]}


class Stopped(BaseException):
    """Ends the process of a training run, as Ctrl-C does."""


def test_runs_that_continue_from_different_checkpoints_meet_again(cases: list[PreparedCase], tmp_path: Path) -> None:
    trials = of_losses(SHORT)
    alone = [bits(train(trial, cases)) for trial in trials]

    def orders(stop: tuple[str, int] = ("", 0)) -> list[TrialToTrain]:
        def after(trial: Trial, step: Step) -> None:
            if (trial.loss, step.step) == stop:
                raise Stopped

        every = {"dice": 2, "hytver": 5, "cross_entropy": 100}  # the last one starts again
        return [
            TrialToTrain(
                trial,
                Checkpoints(tmp_path / trial.loss, every_steps=every[trial.loss], every_seconds=1e9),
                after_step=partial(after, trial),
            )
            for trial in trials
        ]

    with pytest.raises(Stopped):
        train_together(orders(("hytver", 9)), cases)
    assert sorted(os.listdir(tmp_path)) == ["dice", "hytver"]
    assert [path.name for path in sorted((tmp_path / "dice").iterdir())][-1] == "step-00000008.safetensors"
    assert [bits(result) for result in train_together(orders(), cases)] == alone
    assert [bits(result) for result in train_together(orders(), cases)] == alone  # all are finished already


def test_a_batch_is_made_and_hashed_once_for_all_losses(
    cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    real = BatchStream._make

    def make(stream: BatchStream, step: int) -> TrainingBatch:
        made.append(step)
        return real(stream, step)

    monkeypatch.setattr(BatchStream, "_make", make)
    train_together([TrialToTrain(trial) for trial in of_losses(TRIAL)], cases)
    assert made == [1, 2, 3]


def test_the_digest_of_batches_is_that_of_their_bytes_in_any_memory_layout() -> None:
    images = np.asfortranarray(np.arange(2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6))
    references = np.asfortranarray(images[:, 0].astype(np.uint8))
    batch = StepBatch(TrainingBatch(1, images, references, None, ("a", "b"), ((1.0, 1.0, 1.0),) * 2), TRIAL, "cpu")
    expected = hashlib.sha256(b"before" + images.tobytes() + references.tobytes()).hexdigest()
    assert batch.digest_after("before") == expected


def test_what_no_loss_can_train_on_ends_all(cases: list[PreparedCase]) -> None:
    other = replace(cases[1], image=cases[1].image[:2], channels=cases[1].channels[:2])
    results = train_together([TrialToTrain(trial) for trial in of_losses(TRIAL)], [cases[0], other])
    assert all(isinstance(result, DataError) and "not one cohort" in str(result) for result in results)
    with pytest.raises(UsageError, match="only trials of one pair train together"):
        train_together([TrialToTrain(TRIAL), TrialToTrain(replace(TRIAL, seed=2))], cases)


def test_the_time_that_runs_share_is_counted_once(cases: list[PreparedCase]) -> None:
    results = train_together([TrialToTrain(trial) for trial in of_losses(TRIAL)], cases)
    seconds = [result.seconds for result in results if isinstance(result, TrainingResult)]
    assert all(0 < each < 60 for each in seconds)
