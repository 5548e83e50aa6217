"""Where the batches of a training run are made: on its GPU, where the training cases fit, or in main memory."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from lesionloss.data.batches.device_batches import (
    BYTES_PER_VOXEL,
    MOST_VOXELS,
    DeviceBatch,
    DrawnStream,
    make_device_batch,
)
from lesionloss.data.batches.device_cohort import DeviceCohort, cohort_bytes
from lesionloss.data.batches.stream import BatchStream
from lesionloss.data.batches.training_batch import MapsOf
from lesionloss.data.prepared import PreparedCase
from lesionloss.networks.cost import network_cost
from lesionloss.training.execution import GROWTH, network_bytes
from lesionloss.training.loaded_batches import AnyBatch, load_ahead
from lesionloss.training.samplers import augmentation_of, sampler_of
from lesionloss.training.trial import Trial

GB = 1e9


@dataclass(frozen=True)
class BatchSource:
    """Where the stream of a pair's batches begins, and where they are made.

    Attributes:
        cases: The training cases.
        trial: Any of the trials of the pair.
        start_step: Number of the first step.
        before: Digest of all batches before it.
        device: cpu or cuda:N.
        on_device: Whether batches are made on the device.
        workers: Threads that work ahead; the batches do not depend on them.
        maps: Makes the maps that losses need of the references.
    """

    cases: Sequence[PreparedCase]
    trial: Trial
    start_step: int
    before: str
    device: str
    on_device: bool
    workers: int
    maps: MapsOf | None = None


@dataclass(frozen=True)
class CohortPlace:
    """Whether the training cases stand on the device, and why, for machine.json."""

    on_device: bool
    why: str


def place_cohort(
    cases: Sequence[PreparedCase], trial: Trial, begun: Sequence[str], device: str, *, on_cpu: bool = False
) -> CohortPlace:
    """Decide where batches are made; on a GPU its free memory is measured now.

    The networks that will train stand on the GPU already; what a step and their optimisers need must stay free. A
    training run that continues goes on as it began, because the proof of its pairing covers how batches are made.

    Args:
        cases: The training cases.
        trial: Any of the trials of the pair.
        begun: For each network that trains, the digest of its batches so far.
        device: cpu or cuda:N.
        on_cpu: Whether batches must be made in main memory.
    """
    if device == "cpu":
        return CohortPlace(False, "no")
    if on_cpu:
        return CohortPlace(False, "no, as requested")
    if len({(case.channels, len(case.shape)) for case in cases}) > 1:
        return CohortPlace(False, "no, the cases have different channels")
    if any(digest and not digest.startswith(DeviceBatch.MARK) for digest in begun):
        return CohortPlace(False, "no, training began without it")
    recipe, size = trial.recipe, cohort_bytes(cases)
    voxels = min(recipe.batch * recipe.accumulate * math.prod(recipe.patch), max(MOST_VOXELS, math.prod(recipe.patch)))
    sides = recipe.patch[:2] if recipe.patch[2:] == (1,) else recipe.patch
    activations = network_cost(trial.network, (recipe.batch, len(cases[0].channels), *sides)).activations
    training = GROWTH * activations + len(begun) * network_bytes(recipe, trial.network)
    left = torch.cuda.mem_get_info(torch.device(device))[0] - training - BYTES_PER_VOXEL * voxels
    if size <= left:
        return CohortPlace(True, f"yes, {size / GB:.2f} GB")
    return CohortPlace(False, f"no, {size / GB:.2f} GB where {max(0, left) / GB:.2f} GB are left")


@contextlib.contextmanager
def open_batches(source: BatchSource) -> Iterator[Iterator[AnyBatch]]:
    """Open the stream of batches of a pair from a step on.

    Raises:
        UsageError: There is nothing to draw.
    """
    recipe = source.trial.recipe
    kind = DrawnStream if source.on_device else BatchStream
    stream = kind(
        source.cases,
        sampler_of(recipe),
        augmentation_of(recipe),
        (source.trial.pair,),
        batch=recipe.batch * recipe.accumulate,
        start_step=source.start_step,
        workers=source.workers,
        maps=source.maps,
    )
    with stream:
        if isinstance(stream, DrawnStream):
            cohort = DeviceCohort(stream.cases, source.device)
            yield (make_device_batch(cohort, stream.draws, drawn) for drawn in stream)
        elif source.workers and source.device != "cpu":
            with contextlib.closing(load_ahead(stream, source.before)) as loaded:
                yield loaded
        else:
            yield stream
