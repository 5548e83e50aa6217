"""One step of a training run on a batch that other runs of the pair may train on, too."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lesionloss.core.errors import DataError, LesionLossError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import seed_dropout
from lesionloss.training.forward import check_numbers, loss_of, outputs_of, split_batch
from lesionloss.training.gradient_health import gradient_health
from lesionloss.training.loaded_batches import AnyBatch, LoadedBatch, digest_after
from lesionloss.training.schedules import learning_rate
from lesionloss.training.state import Step, weights_of
from lesionloss.training.training_run import PendingStep, TrainingRun
from lesionloss.training.trial import Trial

HEALTH_EVERY = 10  # steps; measuring every gradient costs about a tenth of a small network's step
READ_EVERY = 20  # steps on a GPU after which the losses are read, because reading waits for the device


class TrainingFailed(LesionLossError):
    """The loss became NaN or infinite; the message names the step and the cases of the batch."""


class StepBatch:
    """The batch of a step, brought to the device and hashed once for all runs that train on it."""

    def __init__(self, batch: AnyBatch, trial: Trial, device: str) -> None:
        """Bring the batch to the device in the parts that the trial's recipe accumulates."""
        self.batch = batch
        self.step = batch.step
        self.names = batch.names
        self.parts = split_batch(batch, trial.recipe, device)
        self._digests = dict([batch.digests]) if isinstance(batch, LoadedBatch) else {}

    def digest_after(self, before: str) -> str:
        """Return the digest of all batches up to this one, given that of all before it."""
        if before not in self._digests:
            self._digests[before] = digest_after(before, self.batch)
        return self._digests[before]


def take_step(run: TrainingRun, batch: StepBatch, seconds: float = 0.0) -> None:
    """Take the step of a batch: gradients, weights, numbers, validation, checkpoint.

    Args:
        run: The training run; it has taken all steps before.
        batch: The batch.
        seconds: What the making of the batch took; it counts as a part of the step.

    Raises:
        TrainingFailed: The loss is not finite.
        UsageError: The recipe does not fit the network, or the loss draws from a global generator.
        CheckpointError: A checkpoint can't be written.
    """
    start_time, step, recipe = time.perf_counter() - seconds, batch.step, run.trial.recipe
    run.step, run.state.batches_digest = step, batch.digest_after(run.state.batches_digest)
    loss = _compute_gradients(run, batch)
    rate, norm = _update_weights(run, step)

    # read the numbers: on a GPU only every few steps
    now = round(run.seconds + time.perf_counter() - start_time, 3)
    run.pending.append(PendingStep(step, loss, rate, now, run.health, norm, batch.names))
    check, last = step % recipe.check_every == 0, step == recipe.steps
    checkpoints = run.order.checkpoints
    save = checkpoints is not None and (last or checkpoints.due(step))
    if run.device == "cpu" or check or last or save or len(run.pending) >= READ_EVERY:
        for numbers in _read(run.pending, run.trial):
            run.state.history.append(numbers)
            if run.order.after_step is not None:
                run.order.after_step(numbers)
        run.pending = []

    _validate(run, step, check=check, last=last)
    if run.order.observer is not None:
        run.state.observed += run.order.observer.after(run.state.network, step)
    if checkpoints is not None and (save or run.finished):
        checkpoints.save(run.state, run.trial.key)
    run.seconds += time.perf_counter() - start_time


def _compute_gradients(run: TrainingRun, batch: StepBatch) -> Tensor:
    """Forward and backward, in as many parts as gradients are accumulated over; the mean loss, on the device."""
    recipe, state = run.trial.recipe, run.state
    seed_dropout(state.network, torch_generator(run.trial.pair, "dropout", batch.step))
    state.optimiser.zero_grad(set_to_none=True)
    values = []
    for part in batch.parts:
        outputs = outputs_of(run.passes, part.images, recipe.precision)
        outputs.logits.retain_grad()
        with _name_failure(run.trial, batch.step, batch.names), _no_global_draws(run.trial, batch.step):
            if run.device != "cpu":  # where the loss would have to wait to see them
                check_numbers(batch.batch, outputs.logits.shape[1])
            loss = loss_of(run.criterion, outputs, part, recipe, batch.step)
        torch.autograd.backward(state.scaler.scale(loss / recipe.accumulate))
        values.append(loss.detach())
    if batch.step == 1 or batch.step % HEALTH_EVERY == 0:
        run.health = gradient_health(state.network, outputs.logits, part.references)
    return torch.stack(values).mean()


def _update_weights(run: TrainingRun, step: int) -> tuple[float, Tensor]:
    """Update the weights; the learning rate, and the norm of the whole gradient before it is limited."""
    recipe, state, trained = run.trial.recipe, run.state, run.trained
    rate = learning_rate(recipe, step, state.progress.drops)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.scaler.unscale_(state.optimiser)
    norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
    if recipe.clip_norm:
        nn.utils.clip_grads_with_norm_(trained, recipe.clip_norm, norm)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    return rate, norm


def _validate(run: TrainingRun, step: int, *, check: bool, last: bool) -> None:
    """Decide which weights are best and whether to go on."""
    recipe, state = run.trial.recipe, run.state
    if run.score is not None and (check or last):
        state.progress = state.progress.after(run.score(state.network), step, run.schedule)
        if state.progress.best_step == step and recipe.keep == "best":
            state.best = weights_of(state.network)
    elif check:
        mean = sum(numbers.loss for numbers in state.history[-recipe.check_every :]) / recipe.check_every
        state.progress = state.progress.after(-mean, step, run.schedule)
    run.finished = last or state.progress.exhausted(recipe)
    if recipe.patience and (check or last):
        state.stop_points.append((step, state.batches_digest[:16]))


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
