"""One training run: the record of everything it consists of, its start and its result; steps are in `training_step`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lesionloss.data.prepared import PreparedCase
from lesionloss.losses.criterion import Loss
from lesionloss.networks import channels_last
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.forward import criterion_of
from lesionloss.training.observer import TrainingObserver
from lesionloss.training.optimisers import read_optimiser
from lesionloss.training.schedules import Schedule, read_schedule
from lesionloss.training.start import start_network, weights_hash
from lesionloss.training.state import State, Step, set_weights
from lesionloss.training.step_modes import EAGER, Passes, passes_of
from lesionloss.training.trial import Trial
from lesionloss.training.validation import Score, validation_score


@dataclass(frozen=True)
class TrainingResult:
    """A trained network, its history, and the hashes that prove its start and its batches.

    Attributes:
        network: In evaluation mode, with the weights of `best_step`.
        history: All steps.
        weights_hash: Digest of the initial weights.
        batches_hash: Digest of all batches.
        best_step: The last step; where the best weights are kept, the step with the best score.
        best_score: That score, see `validation_score`; NaN where the last weights are kept.
        observed: Rows of the observer.
        stop_points: Steps at which the run might have stopped early, each with the digest of the batches until there.
        seconds: What this run took in this process; what it shared with others counts in equal parts.
        step_mode: How its steps were computed, see `training.step_modes`.
        cohort_on_device: Whether the training cases stood on the GPU, with their size or the reason why not.
    """

    network: nn.Module
    history: tuple[Step, ...]
    weights_hash: str
    batches_hash: str
    best_step: int = 0
    best_score: float = math.nan
    observed: tuple[dict[str, object], ...] = ()
    stop_points: tuple[tuple[int, str], ...] = ()
    seconds: float = 0.0
    step_mode: str = EAGER
    cohort_on_device: str = "no"


@dataclass(frozen=True)
class TrialToTrain:
    """A trial and what accompanies its training run.

    Attributes:
        trial: What is trained.
        checkpoints: Where checkpoints are; training continues from the last undamaged one and writes others.
        observer: Sees the network regularly; nothing depends on it.
        after_step: Is called after every step; with checkpoints, also for the steps before the last one.
        start: The pretrained weights, for a recipe with `pretrain`.
    """

    trial: Trial
    checkpoints: Checkpoints | None = None
    observer: TrainingObserver | None = None
    after_step: Callable[[Step], None] | None = None
    start: Path | None = None


@dataclass(frozen=True)
class PendingStep:
    """A step whose loss and gradient health still lie on the device."""

    step: int
    loss: Tensor
    rate: float
    seconds: float
    health: Tensor
    norm: Tensor
    names: tuple[str, ...]


@dataclass
class TrainingRun:
    """A training run between two steps; `state` is what changes and what checkpoints hold.

    Attributes:
        order: The trial and what accompanies its training run.
        device: cpu or cuda:N.
        criterion: The loss.
        score: Validation; None without validation cases.
        passes: What computes the network's passes in training, in the mode `step_mode`.
        state: Network, optimiser, scaler, history, progress.
        weights_hash: Digest of the initial weights.
        step: The last step taken; its numbers may still be pending.
        health: Gradient health, when last measured.
        pending: Steps whose numbers are not read yet.
        finished: No step is left.
        seconds: The time of all its steps so far, see `TrainingResult`.
        seconds_before: The part of it that earlier processes took.
        cohort_on_device: See `TrainingResult`.
    """

    order: TrialToTrain
    device: str
    criterion: Loss
    score: Score | None
    schedule: Schedule
    step_mode: str
    passes: Passes
    state: State
    weights_hash: str
    step: int
    health: Tensor
    finished: bool
    seconds: float
    seconds_before: float
    pending: list[PendingStep] = field(default_factory=list)
    cohort_on_device: str = "no"

    @property
    def trial(self) -> Trial:
        """What is trained."""
        return self.order.trial

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that are not frozen."""
        return [parameter for parameter in self.state.network.parameters() if parameter.requires_grad]


def start_run(
    order: TrialToTrain, validation_cases: Sequence[PreparedCase], device: str, step_mode: str = EAGER
) -> TrainingRun:
    """Return a training run at its start, or at its last undamaged checkpoint.

    Raises:
        UsageError: The recipe does not fit the network or the cases.
        DataError: All checkpoints are damaged.
    """
    trial, recipe = order.trial, order.trial.recipe
    criterion = criterion_of(trial.loss, recipe)
    score = validation_score(validation_cases, recipe, criterion, device) if validation_cases else None
    network = start_network(trial, order.start)
    initial_hash = weights_hash(network)
    network = channels_last(network).to(device).train()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = read_optimiser(recipe.optimiser).over(trained, recipe.learning_rate)
    scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=recipe.precision == "fp16")
    state = State(network, optimiser, scaler)
    if order.checkpoints is not None:
        order.checkpoints.resume(state, trial.key)
    if order.after_step is not None:
        for done in state.history:
            order.after_step(done)
    return TrainingRun(
        order,
        device,
        criterion,
        score,
        read_schedule(recipe.schedule),
        step_mode,
        passes_of(network, step_mode),
        state,
        initial_hash,
        state.step,
        torch.tensor(state.health, dtype=torch.float64).to(device),
        finished=state.step >= recipe.steps or state.progress.exhausted(recipe),
        seconds=state.seconds,
        seconds_before=state.seconds,
    )


def result_of(run: TrainingRun) -> TrainingResult:
    """Return the result of a finished training run."""
    state, step, best = run.state, run.state.step, math.nan
    if state.best:
        set_weights(state.network, state.best)
        step, best = state.progress.best_step, state.progress.best
    return TrainingResult(
        state.network.eval(),
        tuple(state.history),
        run.weights_hash,
        state.batches_digest[:16],
        step,
        best,
        tuple(state.observed),
        tuple(state.stop_points),
        run.seconds - run.seconds_before,
        run.step_mode,
        run.cohort_on_device,
    )
