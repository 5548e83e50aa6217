"""A loss whose weights change from the first step to the last: a pure function of the step, as pairing needs it."""

from dataclasses import replace
from pathlib import Path

import pytest

from example_trials import RECIPE, TRIAL
from lesionloss.data.prepared import PreparedCase
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.loop import Step, TrainingResult, TrialToTrain, train, train_together
from lesionloss.training.schedules import progress
from lesionloss.training.trial import Trial

SMALL = replace(
    TRIAL, network="unet3d(filters=2, levels=2)", recipe=replace(RECIPE, patch=(8, 8, 8), jitter=2, steps=4)
)


def of(loss: str) -> Trial:
    return replace(SMALL, loss=loss)


def test_progress_goes_from_0_at_the_first_step_to_1_at_the_last() -> None:
    assert [progress(SMALL.recipe, step) for step in (1, 2, 4)] == [0, 1 / 3, 1]
    assert progress(replace(SMALL.recipe, steps=1), 1) == 0


def test_equal_weights_at_both_ends_give_the_bits_of_one_weight(cases: list[PreparedCase]) -> None:
    changing, constant = train(of("(0.5, 0.5)*dice"), cases), train(of("0.5*dice"), cases)
    assert changing.weights_hash == constant.weights_hash


def test_the_weights_follow_the_steps(cases: list[PreparedCase]) -> None:
    # A rate of nearly 0, so that all steps are taken with the same weights of the network.
    frozen = {
        loss: replace(of(loss), recipe=replace(SMALL.recipe, learning_rate=1e-12)) for loss in ("dice", "(0, 3)*dice")
    }
    constant, changing = (train(trial, cases).history for trial in frozen.values())
    for step, (one, other) in enumerate(zip(constant, changing, strict=True)):
        assert other.loss == pytest.approx(step * one.loss, rel=1e-5)


def test_a_pair_stays_a_pair_and_trains_side_by_side(cases: list[PreparedCase]) -> None:
    trials = [of("dice_ce"), of("(1, 0.1)*dice_ce + (0, 1)*boundary"), of("(1, 0)*dice_ce + (0, 1)*surface")]
    assert len({trial.pair for trial in trials}) == 1
    assert len({trial.key for trial in trials}) == 3
    for trial, together in zip(trials, train_together([TrialToTrain(trial) for trial in trials], cases), strict=True):
        assert isinstance(together, TrainingResult)
        assert together.weights_hash == train(trial, cases).weights_hash
        assert together.batches_hash == train(trials[0], cases).batches_hash


class Killed(Exception):
    """The process ends."""


def test_a_killed_run_continues_with_the_weights_of_its_step(cases: list[PreparedCase], tmp_path: Path) -> None:
    def kill(step: Step) -> None:
        if step.step == 3:
            raise Killed

    trial = of("(1, 0.1)*dice_ce + (0, 1)*boundary")
    checkpoints = Checkpoints(tmp_path, every_steps=2, every_seconds=1e9)
    with pytest.raises(Killed):
        train(trial, cases, checkpoints=checkpoints, after_step=kill)
    resumed = train(trial, cases, checkpoints=Checkpoints(tmp_path, every_steps=2, every_seconds=1e9))
    assert resumed.weights_hash == train(trial, cases).weights_hash
