"""How long a trial takes: a few training steps and one image, timed now, within about a minute."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import ListedCohort
from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.core.randomness import torch_generator
from lesionloss.data.batches.stream import make_batch
from lesionloss.inference import as_judged, predict_probabilities
from lesionloss.metrics import Case, score
from lesionloss.networks import build_network, channels_last, network_multiple, seed_dropout
from lesionloss.training.execution import GROWTH, step_bytes
from lesionloss.training.forward import criterion_of, outputs_of
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.trial import TrainingRecipe
from lesionloss.training.validation import mode_of

CASES_OF_BATCHES, TIMED_BATCHES = 4, 2
TIMED_STEPS = 3  # after one that is not timed
MOST_SECONDS = 60.0  # for these steps together, as far as a smaller patch tells
SMALL_SIDE, FEW_TIMES = 32, 8  # of that patch; where whole steps have not many times its voxels, it is left out
FORWARD_SHARE = 1 / 3  # of a training step
LESION_SHARE = 0.01  # of the voxels of random labels


def seconds_of_step(
    recipe: TrainingRecipe, plan: Plan, whole: tuple[int, ...], device: str, timed: Callable[[int, int], None]
) -> tuple[float, str]:
    """Time a training step on random images, without the making of the batch.

    One image of small sides is timed first. Where it says that whole steps would take too long, it is scaled by voxels.

    Args:
        recipe: Batch and precision.
        plan: Network and losses.
        whole: Shape of the images of a step, (B, C, *space).
        device: cpu or cuda:N.
        timed: Called with (steps done, steps in all).

    Returns:
        Seconds of a step, and what was timed, in words.
    """
    if device == "cpu" and GROWTH * step_bytes(recipe, plan.network.text, whole[1]) <= free_memory():
        keep_freed_memory()
    network = channels_last(build_network(plan.network.text, torch_generator("forecast"))).to(device).train()
    small = (1, whole[1], *(_small_side(side, network_multiple(plan.network.text)) for side in whole[2:]))
    ratio = math.prod(whole) / math.prod(small)
    if ratio > FEW_TIMES:
        seconds = _timed_steps(plan, recipe, network, small, device, 1, timed) * ratio
        if seconds * (TIMED_STEPS + 1) > MOST_SECONDS:
            return seconds, f"a training step on one patch of {'x'.join(map(str, small[2:]))}, scaled by voxels,"
    return _timed_steps(plan, recipe, network, whole, device, TIMED_STEPS, timed), f"{TIMED_STEPS} training steps"


def _small_side(side: int, multiple: int) -> int:
    """The side of a small patch that the network takes; at least two of its smallest sides, where there are so many."""
    return min(side, max(2 * multiple, SMALL_SIDE // multiple * multiple))


def _timed_steps(
    plan: Plan,
    recipe: TrainingRecipe,
    network: nn.Module,
    shape: tuple[int, ...],
    device: str,
    steps: int,
    timed: Callable[[int, int], None],
) -> float:
    """Seconds of one of so many training steps on random images, after one that is not timed."""
    criterion, optimiser = criterion_of(plan.losses[0], recipe), torch.optim.Adam(network.parameters())
    images, labels = random_batch(shape, device)
    start_time = 0.0
    for step in range(steps + 1):
        if step == 1:
            start_time = time.perf_counter()
        seed_dropout(network, torch_generator("forecast", step))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(criterion(outputs_of(network, images, recipe.precision).logits, labels))
        optimiser.step()
        if device != "cpu":
            torch.cuda.synchronize(device)
        timed(step + 1, steps + 1)
    return (time.perf_counter() - start_time) / steps


def random_batch(shape: tuple[int, ...], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images of a shape (B, C, *space) and labels (B, *space) with few lesions, on a device."""
    images = torch.randn(shape, generator=torch_generator("forecast images")).to(device)
    drawn = torch.rand((shape[0], *shape[2:]), generator=torch_generator("forecast labels"))
    return images, (drawn < LESION_SHARE).long().to(device)


def seconds_of_batch(recipe: TrainingRecipe, cohort: ListedCohort) -> float:
    """Time the making of a batch from the first cases, on one core.

    Args:
        recipe: Batch, patch, sampler and augmentation; mixtures are left out.
        cohort: The cases.

    Raises:
        DataError: A case is damaged.
    """
    cases = {entry.name: cohort.load(entry.name) for entry in cohort.cases[:CASES_OF_BATCHES]}
    draws, augmentation = sampler_of(replace(recipe, mix=())).over(cases), augmentation_of(recipe)
    start_time = time.perf_counter()
    for step in range(1, TIMED_BATCHES + 1):
        make_batch(cases, draws, augmentation, ("forecast",), step, recipe.batch)
    return (time.perf_counter() - start_time) / TIMED_BATCHES


def seconds_of_scoring(
    plan: Plan, recipe: TrainingRecipe, cohort: ListedCohort, device: str, step_seconds: float
) -> float:
    """Estimate the seconds for the test images of a fold: their maps and, unless these take long, their metrics.

    The first case is predicted by an untrained network; where that would take long, a window counts as a third of a
    training step on as many voxels.

    Args:
        plan: Network and metrics.
        recipe: The sliding window.
        cohort: The cases.
        device: cpu or cuda:N.
        step_seconds: Seconds of a training step.

    Raises:
        DataError: The first case is damaged.
    """
    entry, images = cohort.cases[0], sum(math.prod(case.shape) for case in cohort.cases) / plan.folds
    strides = [max(1, round(side * (1 - recipe.overlap))) for side in recipe.window]
    passes = math.prod(side / stride for side, stride in zip(recipe.window, strides, strict=True))
    trained = recipe.batch * math.prod(recipe.patch)
    predicted = step_seconds * FORWARD_SHARE * passes / trained
    if predicted * math.prod(entry.shape) > MOST_SECONDS:
        return predicted * images
    case = cohort.load(entry.name)
    network = channels_last(build_network(plan.network.text, torch_generator("forecast"))).to(device).eval()
    arithmetic = as_judged(recipe.precision)
    start_time = time.perf_counter()
    predict_probabilities(network, case, mode_of(recipe), arithmetic=arithmetic, device=device)
    score(Case(case.lesion, case.lesion, spacing_mm=case.spacing_mm), plan.metrics)
    return (time.perf_counter() - start_time) * images / math.prod(entry.shape)
