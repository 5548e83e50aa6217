"""The training loop: one stream of batches, and one or several runs that train on them.

All losses of a pair differ in nothing but the loss, so they can train side by side, each on its own network, on the
very same batches. Each ends with the bits of a run that is trained alone: every random draw comes from a generator
named by the trial's `pair` and the step, and no run sees another. A killed run continues from its checkpoint to the
same bits.
There are no callbacks and no trainer class: whoever wants another loop copies this one.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lesionloss.core.devices import without_default_device
from lesionloss.core.errors import UsageError
from lesionloss.data.prepared import PreparedCase
from lesionloss.networks import network_channels
from lesionloss.training.batch_source import BatchSource, open_batches, place_cohort
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.forward import forward, maps_for
from lesionloss.training.loaded_batches import AnyBatch
from lesionloss.training.mixture import split_mixed
from lesionloss.training.observer import TrainingObserver
from lesionloss.training.schedules import learning_rate
from lesionloss.training.start import start_network, weights_hash
from lesionloss.training.state import Step
from lesionloss.training.step_modes import EAGER
from lesionloss.training.training_run import TrainingResult, TrainingRun, TrialToTrain, result_of, start_run
from lesionloss.training.training_step import StepBatch, TrainingFailed, take_step
from lesionloss.training.trial import Trial
from lesionloss.training.validation import validation_split


def train(
    trial: Trial,
    cases: Sequence[PreparedCase],
    *,
    device: str = "cpu",
    workers: int = 0,
    batches_on_cpu: bool = False,
    checkpoints: Checkpoints | None = None,
    observer: TrainingObserver | None = None,
    after_step: Callable[[Step], None] | None = None,
    start: Path | None = None,
) -> TrainingResult:
    """Train the trial's network on its training cases.

    Args:
        trial: What is trained.
        cases: The training cases.
        device: cpu or cuda:N.
        workers: Threads that make batches ahead; the result does not depend on them.
        batches_on_cpu: Whether batches are made in main memory even where the cases fit on a GPU.
        checkpoints: Where checkpoints are; training continues from the last undamaged one and writes others.
        observer: Sees the network regularly; nothing depends on it.
        after_step: Is called after every step; with checkpoints, also for the steps before the last one.
        start: The pretrained weights, for a recipe with `pretrain`.

    Raises:
        TrainingFailed: The loss is not finite.
        UsageError: The recipe does not fit the network or the cases, or the loss draws from a global generator.
    """
    order = TrialToTrain(trial, checkpoints, observer, after_step, start)
    (result,) = train_together([order], cases, device=device, workers=workers, batches_on_cpu=batches_on_cpu)
    if isinstance(result, Exception):
        raise result
    return result


@without_default_device
def train_together(
    orders: Sequence[TrialToTrain],
    cases: Sequence[PreparedCase],
    *,
    device: str = "cpu",
    workers: int = 0,
    step_mode: str = EAGER,
    batches_on_cpu: bool = False,
) -> list[TrainingResult | Exception]:
    """Train trials of one pair side by side: every batch is made, copied to the device and hashed once for all.

    A run that is ahead, because it continues from a later checkpoint, waits for the others. One that stops early or
    fails leaves the others and their batches as they are.

    Args:
        orders: The trials, and what accompanies the training run of each.
        cases: The training cases.
        device: cpu or cuda:N.
        workers: Threads that make batches ahead; the results do not depend on them.
        step_mode: How steps are computed, see `training.step_modes`.
        batches_on_cpu: Whether batches are made in main memory even where the cases fit on a GPU.

    Returns:
        For each trial its result, or the error that ended it.

    Raises:
        UsageError: The trials are not of one pair, or the recipe does not fit the cases.
    """
    first = orders[0].trial
    if any(order.trial.pair != first.pair for order in orders):
        raise UsageError("only trials of one pair train together: they may differ in nothing but the loss")
    recipe, stream = first.recipe, (first.pair,)
    own, *mixed = split_mixed(cases, recipe.mix)
    training_cases, validation_cases = validation_split(own, recipe.validation_share, stream, recipe.split_by)
    training_cases += [case for group in mixed for case in group]
    if recipe.patience and not validation_cases:
        raise UsageError("patience needs validation patients: give validation_share, such as 0.2")
    runs: list[TrainingRun | Exception] = [_started(order, validation_cases, device, step_mode) for order in orders]
    if going := _going(runs):
        begun = [run.state.batches_digest for _, run in going]
        earliest = min((run for _, run in going), key=lambda run: run.step)
        place = place_cohort(training_cases, first, begun, device, on_cpu=batches_on_cpu)
        for _, run in going:
            run.cohort_on_device = place.why
        before = earliest.state.batches_digest
        maps = maps_for([run.trial.loss for _, run in going], recipe, network_channels(first.network)[1])
        source = BatchSource(training_cases, first, earliest.step + 1, before, device, place.on_device, workers, maps)
        with open_batches(source) as batches:
            while going := _going(runs):
                _take_step_of_all(runs, going, batches, device)
    return [result_of(run) if isinstance(run, TrainingRun) else run for run in runs]


def _started(
    order: TrialToTrain, validation_cases: Sequence[PreparedCase], device: str, step_mode: str
) -> TrainingRun | Exception:
    try:
        return start_run(order, validation_cases, device, step_mode)
    except Exception as error:
        return _without_locals(error)


def _going(runs: Sequence[TrainingRun | Exception]) -> list[tuple[int, TrainingRun]]:
    """The runs that have steps left, and their places."""
    return [(at, run) for at, run in enumerate(runs) if isinstance(run, TrainingRun) and not run.finished]


def _take_step_of_all(
    runs: list[TrainingRun | Exception],
    going: Sequence[tuple[int, TrainingRun]],
    batches: Iterator[AnyBatch],
    device: str,
) -> None:
    """Take the next step of the stream in all runs that have not taken it; the error of a run takes its place."""
    start_time = time.perf_counter()
    try:
        batch = StepBatch(next(batches), going[0][1].trial, device)
    except Exception as error:
        for at, _ in going:
            runs[at] = error
        return
    taking = [(at, run) for at, run in going if run.step < batch.step]
    seconds = (time.perf_counter() - start_time) / max(1, len(taking))
    for at, run in taking:
        try:
            take_step(run, batch, seconds)
        except Exception as error:
            runs[at] = _without_locals(error)


def _without_locals(error: Exception) -> Exception:
    """The error, without the tensors that its traceback holds: the other runs need the memory."""
    traceback.clear_frames(error.__traceback__)
    return error


__all__ = [
    "Step",
    "TrainingFailed",
    "TrainingResult",
    "TrialToTrain",
    "forward",
    "learning_rate",
    "start_network",
    "train",
    "train_together",
    "weights_hash",
]
