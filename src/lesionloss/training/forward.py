"""One pass: a batch to the device, through the network, into the loss. Losses are computed in float32."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionloss.core.devices import to_device
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.batches.training_batch import MapsOf, TrainingBatch
from lesionloss.losses.criterion import Loss, build
from lesionloss.losses.input_checks import refuse_numbers
from lesionloss.losses.supervision import DeepSupervision
from lesionloss.networks import Outputs, as_outputs
from lesionloss.networks.consistency import visit_consistency
from lesionloss.training.loaded_batches import AnyBatch
from lesionloss.training.schedules import progress
from lesionloss.training.small_convolutions import SmallConvolutionsInFloat32
from lesionloss.training.step_modes import Passes
from lesionloss.training.trial import TrainingRecipe


class MicroBatch(NamedTuple):
    """A part of a batch on the device.

    Attributes:
        images: (B, C, *space).
        references: (B, *space).
        valid: Mask (B, *space) of voxels that count; None: all.
        spacing_mm: Edge lengths of a voxel (B, axes), in main memory.
        maps: Maps of the reference (B, L, *space), by name.
    """

    images: Tensor
    references: Tensor
    valid: Tensor | None
    spacing_mm: Tensor
    maps: Mapping[str, Tensor]


def split_batch(batch: AnyBatch, recipe: TrainingRecipe, device: str) -> list[MicroBatch]:
    """Bring a batch to the device where it is not there yet, in `recipe.accumulate` equal parts.

    Args:
        batch: Patches; those of one slice, their last side 1, become 2-D images.
        recipe: Batch size, accumulation and patch.
        device: cpu or cuda:N.

    Returns:
        The parts.
    """
    axes = 2 if recipe.patch[2:] == (1,) else len(recipe.patch)
    images = _brought(batch.images, recipe, device)
    images = images.contiguous(memory_format=torch.channels_last_3d if images.ndim == 5 else torch.channels_last)
    references = _brought(batch.references, recipe, device)
    valid = None if batch.valid is None else _brought(batch.valid, recipe, device)
    maps = {name: _brought(given, recipe, device) for name, given in batch.maps.items()}
    spacing_mm = torch.tensor([each[:axes] for each in batch.spacing_mm], dtype=torch.float32, device="cpu")
    places = [slice(first, first + recipe.batch) for first in range(0, len(images), recipe.batch)]
    return [
        MicroBatch(
            images[place],
            references[place],
            None if valid is None else valid[place],
            spacing_mm[place],
            {name: given[place] for name, given in maps.items()},
        )
        for place in places
    ]


def maps_for(losses: Iterable[str], recipe: TrainingRecipe, channels: int) -> MapsOf | None:
    """Return the function that makes all maps of the reference that losses need; None if they need none.

    Args:
        losses: Texts.
        recipe: Options of the losses.
        channels: Maps of logits of the network; 0 if unknown: the losses then make their maps.

    Raises:
        UsageError: A text is no loss.
    """
    together = criterion_of(" + ".join(losses), recipe)
    if not together.maps or not channels:
        return None

    def maps_of(batch: TrainingBatch) -> dict[str, NDArray[Any]]:
        known = None if batch.valid is None else torch.from_numpy(batch.valid)
        references = torch.from_numpy(batch.references)[:, None]
        try:
            made = together.reference_maps(references, known, batch.spacing_mm, channels)
        except DataError as error:
            raise DataError(f"step {batch.step}, cases {', '.join(batch.names)}: {error}") from error
        return {name: given.numpy() for name, given in made.items()}

    return maps_of


def _brought(values: NDArray[Any] | Tensor, recipe: TrainingRecipe, device: str) -> Tensor:
    """Values on the device, of slices without their last axis."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    tensor = tensor[..., 0] if recipe.patch[2:] == (1,) else tensor
    return to_device(tensor, device) if tensor.device.type == "cpu" else tensor


def check_numbers(batch: AnyBatch, channels: int) -> None:
    """Check the class numbers of a batch without waiting for a GPU.

    Raises:
        DataError: A class number is too large for logits of so many channels.
    """
    refuse_numbers(*batch.class_numbers(), max(2, channels) - 1)


def outputs_of(network: Passes, x: Tensor, precision: str) -> Outputs:
    """Run the network.

    Args:
        network: Any network of `build_network`, or its passes in a mode of `step_modes`.
        x: Images (B, C, *space).
        precision: float32, bf16 or fp16; the network runs in it.

    Returns:
        All outputs in float32.
    """
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    small = SmallConvolutionsInFloat32() if precision != "float32" and x.device.type == "cpu" else nullcontext()
    with torch.autocast(x.device.type, half, enabled=precision != "float32"), small:
        logits, deep, baseline, followup = as_outputs(network(x))
    visits = [None if visit is None else visit.float() for visit in (baseline, followup)]
    return Outputs(logits.float(), tuple(level.float() for level in deep), *visits)


def forward(network: nn.Module, x: Tensor, precision: str) -> Tensor:
    """Return the logits (B, C, *space) of images `x` (B, C, *space), in float32; see `outputs_of`."""
    return outputs_of(network, x, precision).logits


def criterion_of(text: str, recipe: TrainingRecipe) -> Loss:
    """Return the loss of a text with the options that the recipe gives to all losses."""
    weights = recipe.loss_class_weights or None
    return build(text, recipe.pooled, recipe.empty, recipe.average_background, class_weights=weights)


def loss_of(criterion: Loss, outputs: Outputs, batch: MicroBatch, recipe: TrainingRecipe, step: int) -> Tensor:
    """Compute the training loss.

    Args:
        criterion: The loss.
        outputs: What the network gave.
        batch: References, mask, spacing and maps.
        recipe: Settings of deep supervision and the first step of the consistency term.
        step: The training step, from 1.

    Returns:
        A scalar: the loss of the logits, or of all levels of deep supervision, plus the consistency of the visits.

    Raises:
        UsageError: The recipe needs outputs that the network does not give.
    """
    y, valid, done = batch.references, batch.valid, progress(recipe, step)
    for key, given in (("deep_weights are", recipe.deep_weights), ("deep_upsampling is", recipe.deep_upsampling)):
        if given and not outputs.deep:
            raise UsageError(f"{key} given, but the network has one output only; leave that out")
    if recipe.consistency_from and (outputs.baseline is None or outputs.followup is None):
        raise UsageError(
            "consistency_from needs a network with a head for each visit, such as longitudinal_vnet; leave it out"
        )
    if outputs.deep:
        levels = [outputs.logits, *outputs.deep]
        supervised = DeepSupervision(criterion, recipe.deep_weights or None, upsampled=recipe.deep_upsampling)
        loss: Tensor = supervised(levels, y, valid, spacing_mm=batch.spacing_mm, maps=batch.maps, progress=done)
    else:
        loss = criterion(outputs.logits, y, valid, spacing_mm=batch.spacing_mm, maps=batch.maps, progress=done)
    if outputs.baseline is not None and outputs.followup is not None and 0 < recipe.consistency_from <= step:
        loss = loss + visit_consistency(outputs.baseline, outputs.followup, y, valid)
    return loss
