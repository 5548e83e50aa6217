"""The training loop, to be read from top to bottom.

No callback and no trainer class: whoever wants another loop copies this one. Every random draw comes from a generator
named by the trial's `pair` and the step, so two losses of a pair start from the same weights and see the same batches,
and a training that was killed goes on from its checkpoint to the same bits.
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
from lesionloss.losses.criterion import build
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.networks.foreign_names import same_name
from lesionloss.networks.pretrained_weights import freeze, load_weights, name_map
from lesionloss.training.checkpoint import Saving
from lesionloss.training.forward import forward, loss_of, outputs_of, parts
from lesionloss.training.gradient_health import health_tensor
from lesionloss.training.observer import Looking
from lesionloss.training.optimisers import read_optimiser
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.schedules import learning_rate, read_schedule
from lesionloss.training.state import State, Step, take_weights, weights_of
from lesionloss.training.trial import Trial
from lesionloss.training.validation import inner_score, validation_split

HEALTH_EVERY = 10  # steps; a look at every gradient costs about a tenth of a small network's step
READ_EVERY = 20  # steps on a GPU after which the losses are read; reading one means waiting for the device


class TrainingFailed(LesionLossError):
    """The loss became NaN or infinite; the message names the step and the cases of the batch."""


@dataclass(frozen=True)
class Trained:
    """A trained network, its history, and the hashes that prove what it started from and what it saw.

    Its weights are those of `best_step`: the last one, or with an inner split the one with the best score, `best_score`
    (mean Dice of whole cases; NaN without a split). `looks`: what `looking` saw. `marks`: the
    batches' hash at every step at which the training might have ended early.
    """

    network: nn.Module
    history: tuple[Step, ...]
    weights_hash: str
    batches_hash: str
    best_step: int = 0
    best_score: float = math.nan
    looks: tuple[dict[str, object], ...] = ()
    marks: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Unread:
    """A step whose loss and health still lie on the device."""

    step: int
    loss: Tensor
    rate: float
    seconds: float
    health: Tensor
    names: tuple[str, ...]


@without_default_device
def train(
    trial: Trial,
    cases: Sequence[PreparedCase],
    *,
    device: str = "cpu",
    workers: int = 0,
    saving: Saving | None = None,
    looking: Looking | None = None,
    after_step: Callable[[Step], None] | None = None,
    start: Path | None = None,
) -> Trained:
    """Train the trial's network on its training cases.

    The result is the same for any number of `workers`, which make batches ahead. With `saving`, training goes on from
    the last whole checkpoint in its folder and writes others; `after_step` is then told of the steps before, too.
    `looking` sees the network now and then; nothing depends on what it sees.
    `start` is the file of pretrained weights of a recipe that asks for some.
    Raises TrainingFailed when the loss is not finite, UsageError for a recipe that does not fit network or cases.
    """
    recipe, stream = trial.recipe, (trial.pair,)
    learning, aside = validation_split(cases, recipe.validation_share, stream)
    if recipe.patience and not aside:
        raise UsageError("patience needs patients set aside to judge by: give validation_share, such as 0.2")
    score = inner_score(aside, recipe, device) if aside else None

    # network, criterion and optimiser; initial weights from the pair's own generator or a file
    network = start_network(trial, start)
    started_from = weights_hash(network)
    network = channels_last(network).to(device).train()
    moving = [parameter for parameter in network.parameters() if parameter.requires_grad]
    criterion = build(trial.loss)
    schedule = read_schedule(recipe.schedule)
    optimiser = read_optimiser(recipe.optimiser).over(moving, recipe.learning_rate)
    scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=recipe.precision == "fp16")

    # where it stands: at the beginning, or at the last whole checkpoint
    state = State(network, optimiser, scaler)
    if saving is not None:
        saving.resume(state, trial.key)
    told = after_step or (lambda step: None)
    for done in state.history:
        told(done)
    health = torch.tensor(state.health, dtype=torch.float64)
    before, begun = state.seconds, time.perf_counter()
    unread: list[Unread] = []
    finished = state.step >= recipe.steps or state.progress.exhausted(recipe)

    patches = recipe.batch * recipe.accumulate
    draws, augmentation = sampler_of(recipe), augmentation_of(recipe)
    with BatchStream(
        learning, draws, augmentation, stream, batch=patches, start_step=state.step + 1, workers=workers
    ) as batches:
        while not finished:
            # the batch of this step, whatever happened before
            batch = next(batches)
            step = batch.step
            state.saw(batch.images.tobytes(), batch.references.tobytes())

            # forward and backward, in as many parts as gradients are accumulated over
            seed_dropout(network, torch_generator(*stream, "dropout", step))
            optimiser.zero_grad(set_to_none=True)
            values = []
            for x, y, valid in parts(batch, recipe, device):
                outputs = outputs_of(network, x, recipe.precision)
                outputs.logits.retain_grad()
                with failure_named(trial, step, batch.names):
                    loss = loss_of(criterion, outputs, y, valid, recipe, step)
                torch.autograd.backward(scaler.scale(loss / recipe.accumulate))
                values.append(loss.detach())
            if step == 1 or step % HEALTH_EVERY == 0:
                health = health_tensor(network, outputs.logits, y)

            # move the weights
            rate = learning_rate(recipe, step, state.progress.drops)
            for group in optimiser.param_groups:
                group["lr"] = rate
            if recipe.clip_norm:
                scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(moving, recipe.clip_norm)
            scaler.step(optimiser)
            scaler.update()

            # read the numbers: on a GPU only now and then
            seconds = round(before + time.perf_counter() - begun, 3)
            unread.append(Unread(step, torch.stack(values).mean(), rate, seconds, health, batch.names))
            look, last = step % recipe.check_every == 0, step == recipe.steps
            save = saving is not None and (last or saving.due(step))
            if device == "cpu" or look or last or save or len(unread) >= READ_EVERY:
                for numbers in read(unread, trial):
                    state.history.append(numbers)
                    told(numbers)
                unread = []

            # the inner patients decide which weights are best and whether to go on; then the checkpoint
            if score is not None and (look or last):
                state.progress = state.progress.after(score(network), step, schedule)
                if state.progress.best_step == step:
                    state.best = weights_of(network)
            elif look:
                mean = sum(numbers.loss for numbers in state.history[-recipe.check_every :]) / recipe.check_every
                state.progress = state.progress.after(-mean, step, schedule)
            finished = last or state.progress.exhausted(recipe)
            if recipe.patience and (look or last):
                state.marks.append((step, state.seen[:16]))
            if looking is not None:
                state.looks += looking.after(network, step)
            if saving is not None and (save or finished):
                saving.save(state, trial.key)

    step, best = state.step, math.nan
    if state.best:
        take_weights(network, state.best)
        step, best = state.progress.best_step, state.progress.best
    seen, history = state.seen[:16], tuple(state.history)
    looks, marks = tuple(state.looks), tuple(state.marks)
    return Trained(network.eval(), history, started_from, seen, step, best, looks, marks)


def start_network(trial: Trial, start: Path | None = None) -> nn.Module:
    """The network before the first step: weights from the pair's generator, then those of a file; frozen parts.

    Raises UsageError where the recipe asks for pretrained weights and there is no `start`, or the other way round.
    """
    recipe = trial.recipe
    network = build_network(trial.network, torch_generator(trial.pair, "weights"))
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
    """Digest of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def read(unread: Sequence[Unread], trial: Trial) -> Iterator[Step]:
    """The steps with their numbers. Raises TrainingFailed at the first loss that is not finite."""
    losses = torch.stack([step.loss for step in unread]).tolist()
    for step, loss in zip(unread, losses, strict=True):
        if not math.isfinite(loss):
            raise TrainingFailed(failure(trial, step.step, step.names, str(loss)))
        yield Step(step.step, loss, step.rate, step.seconds, *step.health.tolist())


@contextlib.contextmanager
def failure_named(trial: Trial, step: int, names: Sequence[str]) -> Iterator[None]:
    """Say at which step and on which cases a loss found values that it can't use."""
    try:
        yield
    except DataError as error:
        raise TrainingFailed(failure(trial, step, names, f"undefined ({error})")) from error


def failure(trial: Trial, step: int, names: Sequence[str], value: str) -> str:
    return f"loss {trial.loss!r} is {value} at step {step}; cases of the batch: {', '.join(names)}"


__all__ = ["Step", "Trained", "TrainingFailed", "forward", "learning_rate", "train", "weights_hash"]
