"""One pass: a batch to the device, through the network, into the loss. Losses are computed in float32."""

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from lesionloss.core.devices import to_device
from lesionloss.core.errors import UsageError
from lesionloss.data.batches.stream import TrainingBatch
from lesionloss.losses.criterion import Loss, build
from lesionloss.losses.input_checks import refuse_numbers
from lesionloss.losses.supervision import DeepSupervision
from lesionloss.networks import Outputs, as_outputs
from lesionloss.networks.consistency import visit_consistency
from lesionloss.training.small_convolutions import SmallConvolutionsInFloat32
from lesionloss.training.step_modes import Passes
from lesionloss.training.trial import TrainingRecipe

MicroBatch = tuple[Tensor, Tensor, Tensor | None]


def split_batch(batch: TrainingBatch, recipe: TrainingRecipe, device: str) -> list[MicroBatch]:
    """Copy a batch to the device, in `recipe.accumulate` equal parts.

    Args:
        batch: Patches; those of one slice, their last side 1, become 2-D images.
        recipe: Batch size, accumulation and patch.
        device: cpu or cuda:N.

    Returns:
        For each part: images (B, C, *space), references (B, *space), and the mask (B, *space) of voxels that count
        (None: all).
    """
    batch = _without_last_axis(batch) if recipe.patch[2:] == (1,) else batch
    images = to_device(torch.from_numpy(batch.images), device)
    images = images.contiguous(memory_format=torch.channels_last_3d if images.ndim == 5 else torch.channels_last)
    references = to_device(torch.from_numpy(batch.references), device)
    masks: list[Tensor | None] = [None] * recipe.accumulate
    if batch.valid is not None:
        masks = list(torch.split(to_device(torch.from_numpy(batch.valid), device), recipe.batch))
    return list(zip(torch.split(images, recipe.batch), torch.split(references, recipe.batch), masks, strict=True))


def check_numbers(batch: TrainingBatch, channels: int) -> None:
    """Check the class numbers of a batch in main memory, so that a GPU need not be waited for.

    Raises:
        DataError: A class number is too large for logits of so many channels.
    """
    numbers = batch.references if batch.valid is None else batch.references[batch.valid]
    if numbers.size:
        refuse_numbers(int(numbers.min()), int(numbers.max()), max(2, channels) - 1)


def _without_last_axis(batch: TrainingBatch) -> TrainingBatch:
    valid = None if batch.valid is None else batch.valid[..., 0]
    return replace(batch, images=batch.images[..., 0], references=batch.references[..., 0], valid=valid)


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
    return build(text, recipe.pooled, recipe.empty, recipe.average_background)


def loss_of(
    criterion: Loss, outputs: Outputs, y: Tensor, valid: Tensor | None, recipe: TrainingRecipe, step: int
) -> Tensor:
    """Compute the training loss.

    Args:
        criterion: The loss.
        outputs: What the network gave.
        y: References (B, *space).
        valid: Mask (B, *space) of voxels that count; None: all.
        recipe: Settings of deep supervision and the first step of the consistency term.
        step: The training step, from 1.

    Returns:
        A scalar: the loss of the logits, or of all levels of deep supervision, plus the consistency of the visits.

    Raises:
        UsageError: The recipe needs outputs that the network does not give.
    """
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
        loss: Tensor = supervised(levels, y, valid=valid)
    else:
        loss = criterion(outputs.logits, y, valid=valid)
    if outputs.baseline is not None and outputs.followup is not None and 0 < recipe.consistency_from <= step:
        loss = loss + visit_consistency(outputs.baseline, outputs.followup, y, valid)
    return loss
