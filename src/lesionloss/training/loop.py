"""The training loop, to be read from top to bottom.

It has no callbacks and no trainer class: whoever wants another loop copies this one. Every random draw comes from a
generator named by the trial's `pair` and the step. So two losses of a pair start from the same weights and see the same
batches, and a killed training run continues from its checkpoint to the same bits.
"""

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lesionloss.core.devices import without_default_device
from lesionloss.core.errors import DataError, LesionLossError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.data.batches.stream import BatchStream
from lesionloss.data.prepared import PreparedCase
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.networks.checkpoint_names import same_name
from lesionloss.networks.pretrained_weights import freeze, load_weights, name_map
from lesionloss.training.checkpoint import Checkpoints
from lesionloss.training.forward import check_numbers, criterion_of, forward, loss_of, outputs_of, split_batch
from lesionloss.training.gradient_health import gradient_health
from lesionloss.training.mixture import split_mixed
from lesionloss.training.observer import TrainingObserver
from lesionloss.training.optimisers import read_optimiser
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.schedules import learning_rate, read_schedule
from lesionloss.training.state import State, Step, set_weights, weights_of
from lesionloss.training.trial import Trial
from lesionloss.training.validation import validation_score, validation_split

HEALTH_EVERY = 10  # steps; measuring every gradient costs about a tenth of a small network's step
READ_EVERY = 20  # steps on a GPU after which the losses are read, because reading waits for the device


class TrainingFailed(LesionLossError):
    """The loss became NaN or infinite; the message names the step and the cases of the batch."""


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
    """

    network: nn.Module
    history: tuple[Step, ...]
    weights_hash: str
    batches_hash: str
    best_step: int = 0
    best_score: float = math.nan
    observed: tuple[dict[str, object], ...] = ()
    stop_points: tuple[tuple[int, str], ...] = ()


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


@without_default_device
def train(
    trial: Trial,
    cases: Sequence[PreparedCase],
    *,
    device: str = "cpu",
    workers: int = 0,
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
        checkpoints: Where checkpoints are; training continues from the last undamaged one and writes others.
        observer: Sees the network regularly; nothing depends on it.
        after_step: Is called after every step; with checkpoints, also for the steps before the last one.
        start: The pretrained weights, for a recipe with `pretrain`.

    Raises:
        TrainingFailed: The loss is not finite.
        UsageError: The recipe does not fit the network or the cases, or the loss draws from a global generator.
    """
    recipe, stream = trial.recipe, (trial.pair,)
    own, *mixed = split_mixed(cases, recipe.mix)
    training_cases, validation_cases = validation_split(own, recipe.validation_share, stream, recipe.split_by)
    training_cases += [case for group in mixed for case in group]
    if recipe.patience and not validation_cases:
        raise UsageError("patience needs validation patients: give validation_share, such as 0.2")
    criterion = criterion_of(trial.loss, recipe)
    score = validation_score(validation_cases, recipe, criterion, device) if validation_cases else None

    # network and optimiser; initial weights from the pair's own generator or a file
    network = start_network(trial, start)
    initial_hash = weights_hash(network)
    network = channels_last(network).to(device).train()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    schedule = read_schedule(recipe.schedule)
    optimiser = read_optimiser(recipe.optimiser).over(trained, recipe.learning_rate)
    scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=recipe.precision == "fp16")

    # the state: at the start, or at the last undamaged checkpoint
    state = State(network, optimiser, scaler)
    if checkpoints is not None:
        checkpoints.resume(state, trial.key)
    log_step = after_step or (lambda step: None)
    for done in state.history:
        log_step(done)
    health = torch.tensor(state.health, dtype=torch.float64).to(device)
    seconds_before, start_time = state.seconds, time.perf_counter()
    pending: list[PendingStep] = []
    finished = state.step >= recipe.steps or state.progress.exhausted(recipe)

    patches = recipe.batch * recipe.accumulate
    draws, augmentation = sampler_of(recipe), augmentation_of(recipe)
    with BatchStream(
        training_cases, draws, augmentation, stream, batch=patches, start_step=state.step + 1, workers=workers
    ) as batches:
        while not finished:
            # the batch of this step, whatever happened before
            batch = next(batches)
            step = batch.step
            state.add_to_digest(batch.images.tobytes(), batch.references.tobytes())

            # forward and backward, in as many parts as gradients are accumulated over
            seed_dropout(network, torch_generator(*stream, "dropout", step))
            optimiser.zero_grad(set_to_none=True)
            values = []
            for x, y, valid in split_batch(batch, recipe, device):
                outputs = outputs_of(network, x, recipe.precision)
                outputs.logits.retain_grad()
                with _name_failure(trial, step, batch.names), _no_global_draws(trial, step):
                    if device != "cpu":  # where the loss would have to wait to see them
                        check_numbers(batch, outputs.logits.shape[1])
                    loss = loss_of(criterion, outputs, y, valid, recipe, step)
                torch.autograd.backward(scaler.scale(loss / recipe.accumulate))
                values.append(loss.detach())
            if step == 1 or step % HEALTH_EVERY == 0:
                health = gradient_health(network, outputs.logits, y)

            # update the weights
            rate = learning_rate(recipe, step, state.progress.drops)
            for group in optimiser.param_groups:
                group["lr"] = rate
            scaler.unscale_(optimiser)
            norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
            if recipe.clip_norm:
                nn.utils.clip_grads_with_norm_(trained, recipe.clip_norm, norm)
            scaler.step(optimiser)
            scaler.update()

            # read the numbers: on a GPU only every few steps
            seconds = round(seconds_before + time.perf_counter() - start_time, 3)
            pending.append(PendingStep(step, torch.stack(values).mean(), rate, seconds, health, norm, batch.names))
            check, last = step % recipe.check_every == 0, step == recipe.steps
            save = checkpoints is not None and (last or checkpoints.due(step))
            if device == "cpu" or check or last or save or len(pending) >= READ_EVERY:
                for numbers in _read(pending, trial):
                    state.history.append(numbers)
                    log_step(numbers)
                pending = []

            # validation decides which weights are best and whether to go on; then the checkpoint
            if score is not None and (check or last):
                state.progress = state.progress.after(score(network), step, schedule)
                if state.progress.best_step == step and recipe.keep == "best":
                    state.best = weights_of(network)
            elif check:
                mean = sum(numbers.loss for numbers in state.history[-recipe.check_every :]) / recipe.check_every
                state.progress = state.progress.after(-mean, step, schedule)
            finished = last or state.progress.exhausted(recipe)
            if recipe.patience and (check or last):
                state.stop_points.append((step, state.batches_digest[:16]))
            if observer is not None:
                state.observed += observer.after(network, step)
            if checkpoints is not None and (save or finished):
                checkpoints.save(state, trial.key)

    step, best = state.step, math.nan
    if state.best:
        set_weights(network, state.best)
        step, best = state.progress.best_step, state.progress.best
    return TrainingResult(
        network.eval(),
        tuple(state.history),
        initial_hash,
        state.batches_digest[:16],
        step,
        best,
        tuple(state.observed),
        tuple(state.stop_points),
    )


def start_network(trial: Trial, start: Path | None = None) -> nn.Module:
    """Return the network before the first step.

    Args:
        trial: Names the network; its pair names the generator of the initial weights.
        start: The pretrained weights, for a recipe with `pretrain`.

    Raises:
        UsageError: The recipe has `pretrain` and there is no `start`, or the other way round; or a file does not fit.
    """
    recipe = trial.recipe
    network = build_network(trial.network, torch_generator(trial.pair, "weights"), initial=recipe.initial)
    if recipe.start_from:
        mapping = name_map(recipe.start_layout) if recipe.start_layout else same_name
        load_weights(network, Path(recipe.start_from), mapping)
    if (start is not None) != bool(recipe.pretrain):
        raise UsageError(f"the recipe says pretrain = {recipe.pretrain!r}, but the pretrained weights are {start}")
    if start is not None and (missing := load_weights(network, start).missing):
        raise UsageError(f"{start} lacks {missing[0].ours} of {trial.network}: weights of another network")
    if recipe.freeze:
        freeze(network, recipe.freeze)
    return network


def weights_hash(network: nn.Module) -> str:
    """Return the digest of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(pending: Sequence[PendingStep], trial: Trial) -> Iterator[Step]:
    """The steps with their numbers. Raises TrainingFailed at the first loss that is not finite."""
    rows = [torch.stack([step.loss.double(), step.norm.double(), *step.health]) for step in pending]
    for step, (loss, norm, tensors, lesion) in zip(pending, torch.stack(rows).tolist(), strict=True):
        if not math.isfinite(loss):
            raise TrainingFailed(_failure(trial, step.step, step.names, str(loss)))
        yield Step(step.step, loss, step.rate, step.seconds, tensors, lesion, norm)


@contextlib.contextmanager
def _name_failure(trial: Trial, step: int, names: Sequence[str]) -> Iterator[None]:
    """Name the step and the cases where a loss finds values that it can't use."""
    try:
        yield
    except DataError as error:
        raise TrainingFailed(_failure(trial, step, names, f"undefined ({error})")) from error


@contextlib.contextmanager
def _no_global_draws(trial: Trial, step: int) -> Iterator[None]:
    """At the first step, find a loss that draws from torch's global generator: its training run can't be repeated."""
    before = torch.get_rng_state()
    yield
    if step == 1 and not torch.equal(before, torch.get_rng_state()):
        raise UsageError(
            f"loss {trial.loss!r} draws from torch's global generator, so its training runs can't be repeated or "
            "resumed; draw from a torch.Generator with a seed of its own"
        )


def _failure(trial: Trial, step: int, names: Sequence[str], value: str) -> str:
    return f"loss {trial.loss!r} is {value} at step {step}; cases of the batch: {', '.join(names)}"


__all__ = ["Step", "TrainingFailed", "TrainingResult", "forward", "learning_rate", "train", "weights_hash"]
