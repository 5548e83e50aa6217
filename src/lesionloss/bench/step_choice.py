"""How the training steps of a run are computed: decided once, kept in RUN/step.json, the same for all its trials.

Compiled passes round in another order. So all losses are computed in the same way, on every node and whenever a run is
continued.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from lesionloss.bench.run_context import RunContext
from lesionloss.bench.trial_timing import random_batch
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import create_text
from lesionloss.core.locks import hold_lock
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import build_network, channels_last, network_axes, seed_dropout
from lesionloss.runs.run_files import read_json
from lesionloss.training.forward import MicroBatch, criterion_of, loss_of, outputs_of
from lesionloss.training.optimisers import read_optimiser
from lesionloss.training.step_modes import COMPILED, EAGER, STEP_MODES, passes_of
from lesionloss.training.trial import Trial

AUTO = "auto"
FILE = "step.json"
TIMED_STEPS = 5  # after the first one, in which the network is compiled
GAIN = 0.95  # the share of the time of a trial that compiled steps may take at most
AGREEMENT = 0.01  # largest relative difference of the loss after these steps


@dataclass(frozen=True)
class TimedSteps:
    """A few steps of one mode: seconds of the first one and of each other, and the loss at the end."""

    first: float
    each: float
    loss: float

    def seconds(self, steps: int) -> float:
        """Return what so many steps take."""
        return self.first + (steps - 1) * self.each


@dataclass(frozen=True)
class StepChoice:
    """The mode of all training steps of a run, why, and what was timed."""

    mode: str
    reason: str
    timed: dict[str, TimedSteps] = field(default_factory=dict)


def check_step_mode(folder: Path, wanted: str | None) -> None:
    """Check that a run, if it has begun, computes its steps as the user wants.

    Args:
        folder: The run folder.
        wanted: One of STEP_MODES; None and auto: as the run does.

    Raises:
        UsageError: There is no such mode, or the run has another one.
    """
    if wanted not in (None, AUTO, *STEP_MODES):
        raise UsageError(f"--step must be {', '.join(STEP_MODES)} or {AUTO}, got {wanted!r}")
    kept = _kept(folder)
    if kept not in (None, wanted) and wanted in STEP_MODES:
        raise UsageError(
            f"{folder} was started with {kept} steps, and results with {wanted} ones differ in their last bits; give "
            f"--step {kept}, or choose another --out"
        )


def step_mode_of(context: RunContext, trial: Trial, channels: int, networks: int) -> str:
    """Return the mode of the training steps of a run; the first process that asks decides, here and now.

    Args:
        context: The run, its device, and the mode that the user wants.
        trial: The first trial that is trained.
        channels: Channels of the images.
        networks: Networks that are trained side by side.
    """
    kept = _kept(context.folder)
    if kept is not None:
        return kept
    with hold_lock(context.folder / "locks" / "step"):
        kept = _kept(context.folder)
        if kept is not None:
            return kept
        choice = _choice(context, trial, channels, networks)
        create_text(context.folder / FILE, json.dumps(asdict(choice), indent=1) + "\n")
        return choice.mode


def _kept(folder: Path) -> str | None:
    path = folder / FILE
    mode = read_json(path).get("mode") if path.is_file() else None
    if path.is_file() and mode not in STEP_MODES:
        raise DataError(f"{path}: mode must be {' or '.join(STEP_MODES)}, got {mode!r}; bench into a new folder")
    return None if mode is None else str(mode)


def _choice(context: RunContext, trial: Trial, channels: int, networks: int) -> StepChoice:
    if context.step != AUTO:
        return StepChoice(context.step, "asked for")
    if context.deterministic:
        return StepChoice(EAGER, "--deterministic")
    eager = _timed_steps(trial, channels, context.device, EAGER)
    try:
        compiled = _timed_steps(trial, channels, context.device, COMPILED)
    except Exception as error:  # a compiler may raise anything; then the steps stay as they are
        return StepChoice(EAGER, f"can't be compiled: {type(error).__name__}", {EAGER: eager})
    return faster(eager, compiled, trial.recipe.steps * trial.recipe.accumulate * networks)


def faster(eager: TimedSteps, compiled: TimedSteps, steps: int) -> StepChoice:
    """Return the mode in which so many steps end first, the time of compiling included."""
    timed = {EAGER: eager, COMPILED: compiled}
    if not abs(compiled.loss - eager.loss) <= AGREEMENT * abs(eager.loss):
        return StepChoice(EAGER, f"compiled, the loss is {compiled.loss:.6g} instead of {eager.loss:.6g}", timed)
    spent = {mode: found.seconds(steps) for mode, found in timed.items()}
    words = f"{steps} steps of a process: eager {spent[EAGER]:.0f} s, compiled {spent[COMPILED]:.0f} s"
    return StepChoice(COMPILED if spent[COMPILED] <= GAIN * spent[EAGER] else EAGER, words, timed)


def _timed_steps(trial: Trial, channels: int, device: str, mode: str) -> TimedSteps:
    """Take a few training steps on random images, as a trial does but for the making of batches."""
    recipe = trial.recipe
    network = channels_last(build_network(trial.network, torch_generator("step mode"))).to(device).train()
    passes, criterion = passes_of(network, mode), criterion_of(trial.loss, recipe)
    optimiser = read_optimiser(recipe.optimiser).over(list(network.parameters()), recipe.learning_rate)
    shape = (recipe.batch, channels, *recipe.patch[: network_axes(trial.network)])
    images, labels = random_batch(shape, device)
    batch = MicroBatch(images, labels, None, torch.ones(len(images), len(shape) - 2, device="cpu"), {})
    moments, value = [time.perf_counter()], 0.0
    for step in range(1, TIMED_STEPS + 2):
        seed_dropout(network, torch_generator("step mode", step))
        optimiser.zero_grad(set_to_none=True)
        outputs = outputs_of(passes, images, recipe.precision)
        loss = loss_of(criterion, outputs, batch, recipe, step)
        torch.autograd.backward(loss)
        optimiser.step()
        value = float(loss.detach())  # waits for a GPU
        moments.append(time.perf_counter())
    return TimedSteps(moments[1] - moments[0], (moments[-1] - moments[1]) / TIMED_STEPS, value)
