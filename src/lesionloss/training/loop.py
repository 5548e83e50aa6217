"""The training loop, to be read from top to bottom.

No callback and no trainer class: whoever wants another loop copies this one. Every random draw comes from a generator
named by the trial's `pair`, so two losses of a pair start from the same weights and see the same batches.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lesionloss.criterion import build
from lesionloss.data.augment import augment
from lesionloss.data.patches import draw_batch
from lesionloss.data.prepare import PreparedCase
from lesionloss.errors import LesionLossError
from lesionloss.networks import build_network, channels_last, seed_dropout
from lesionloss.randomness import torch_generator
from lesionloss.training.health import GradientHealth, gradient_health
from lesionloss.training.trial import Recipe, Trial

HEALTH_EVERY = 10  # steps; a look at every gradient costs about a tenth of a small network's step


class TrainingFailed(LesionLossError):
    """The loss became NaN or infinite; the message names the step and the cases of the batch."""


@dataclass(frozen=True)
class Step:
    """One line of history.csv. `seconds` since the start; the health shares are those last measured."""

    step: int
    loss: float
    learning_rate: float
    seconds: float
    zero_gradient_tensors: float
    zero_gradient_lesion: float


@dataclass(frozen=True)
class Trained:
    """A trained network, its history, and the hashes that prove what it started from and what it saw."""

    network: nn.Module
    history: tuple[Step, ...]
    weights_hash: str
    batches_hash: str


def weights_hash(network: nn.Module) -> str:
    """Digest of all parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def train(
    trial: Trial,
    cases: Sequence[PreparedCase],
    *,
    device: str = "cpu",
    after_step: Callable[[Step], None] | None = None,
) -> Trained:
    """Train the trial's network on its training cases. Raises TrainingFailed when the loss is not finite."""
    recipe = trial.recipe
    stream = (trial.pair,)

    # network, criterion and optimiser; initial weights from the pair's own generator
    network = build_network(trial.network, torch_generator(*stream, "weights"))
    started_from = weights_hash(network)
    network = channels_last(network).to(device)
    criterion = build(trial.loss)
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    network.train()

    history: list[Step] = []
    seen = hashlib.sha256()
    health = GradientHealth(float("nan"), float("nan"))
    begun = time.perf_counter()
    for step in range(1, recipe.steps + 1):
        # the batch of this step, whatever happened before
        images, references, names = draw_batch(
            cases, recipe.patch, recipe.batch, recipe.jitter, recipe.lesion_share, stream, step
        )
        if recipe.augment:
            images, references = augment(images, references, stream, step)
        seen.update(images.tobytes() + references.tobytes())
        x = torch.from_numpy(images).to(device, memory_format=torch.channels_last_3d)
        y = torch.from_numpy(references).to(device)

        # forward and backward
        seed_dropout(network, torch_generator(*stream, "dropout", step))
        logits = forward(network, x, recipe.precision)
        logits.retain_grad()
        loss = criterion(logits, y)
        value = float(loss.detach())
        if value != value or value in (float("inf"), float("-inf")):
            raise TrainingFailed(
                f"loss {trial.loss!r} is {value} at step {step}; cases of the batch: {', '.join(names)}"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if step == 1 or step % HEALTH_EVERY == 0:
            health = gradient_health(network, logits, y)
        rate = learning_rate(recipe, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()

        # record
        seconds = time.perf_counter() - begun
        history.append(Step(step, value, rate, round(seconds, 3), health.tensors, health.lesion_voxels))
        if after_step is not None:
            after_step(history[-1])
    return Trained(network.eval(), tuple(history), started_from, seen.hexdigest()[:16])


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step (from 1): polynomial decay from the recipe's rate towards 0 after the last step."""
    return float(recipe.learning_rate * (1 - (step - 1) / recipe.steps) ** recipe.decay)


def forward(network: nn.Module, x: Tensor, precision: str) -> Tensor:
    """Logits in float32; the network itself runs in bfloat16 where `precision` says so."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = network(x)
    return logits.float()
