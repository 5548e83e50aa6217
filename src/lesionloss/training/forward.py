"""One pass: a batch onto the device, through the network, into the loss. Losses are computed in float32."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lesionloss.core.errors import UsageError
from lesionloss.data.batches.stream import Batch
from lesionloss.losses.criterion import Loss
from lesionloss.losses.supervision import DeepSupervision
from lesionloss.networks import Outputs, as_outputs
from lesionloss.networks.consistency import visit_consistency
from lesionloss.training.trial import Recipe

Part = tuple[Tensor, Tensor, Tensor | None]


def parts(batch: Batch, recipe: Recipe, device: str) -> list[Part]:
    """Images (B, C, *space), references and valid voxels (B, *space) on the device, in `accumulate` equal parts.

    Patches of one slice, their last side 1, are given as pictures.
    """
    batch = _flat(batch) if recipe.patch[2:] == (1,) else batch
    images = on_device(torch.from_numpy(batch.images), device)
    images = images.contiguous(memory_format=torch.channels_last_3d if images.ndim == 5 else torch.channels_last)
    references = on_device(torch.from_numpy(batch.references), device)
    masks: list[Tensor | None] = [None] * recipe.accumulate
    if batch.valid is not None:
        masks = list(torch.split(on_device(torch.from_numpy(batch.valid), device), recipe.batch))
    return list(zip(torch.split(images, recipe.batch), torch.split(references, recipe.batch), masks, strict=True))


def _flat(batch: Batch) -> Batch:
    valid = None if batch.valid is None else batch.valid[..., 0]
    return replace(batch, images=batch.images[..., 0], references=batch.references[..., 0], valid=valid)


def on_device(tensor: Tensor, device: str) -> Tensor:
    """The tensor there; from pinned memory, which is copied while a GPU computes."""
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def outputs_of(network: nn.Module, x: Tensor, precision: str) -> Outputs:
    """All that the network gives, in float32; the network itself runs in half precision where `precision` says so."""
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast(x.device.type, half, enabled=precision != "float32"):
        logits, deep, baseline, followup = as_outputs(network(x))
    visits = [None if visit is None else visit.float() for visit in (baseline, followup)]
    return Outputs(logits.float(), tuple(level.float() for level in deep), *visits)


def forward(network: nn.Module, x: Tensor, precision: str) -> Tensor:
    """The logits alone, in float32."""
    return outputs_of(network, x, precision).logits


def loss_of(criterion: Loss, outputs: Outputs, y: Tensor, valid: Tensor | None, recipe: Recipe, step: int) -> Tensor:
    """The criterion on the logits, or on all levels of deep supervision, with the consistency of the visits.

    Raises UsageError where the recipe asks for outputs that the network doesn't give.
    """
    if recipe.deep_weights and not outputs.deep:
        raise UsageError("deep_weights are given, but the network has one output only; leave them out")
    if recipe.consistency_from and (outputs.baseline is None or outputs.followup is None):
        raise UsageError(
            "consistency_from needs a network with a head for each visit, such as longitudinal_vnet; leave it out"
        )
    if outputs.deep:
        levels = [outputs.logits, *outputs.deep]
        loss: Tensor = DeepSupervision(criterion, recipe.deep_weights or None)(levels, y, valid=valid)
    else:
        loss = criterion(outputs.logits, y, valid=valid)
    if outputs.baseline is not None and outputs.followup is not None and 0 < recipe.consistency_from <= step:
        loss = loss + visit_consistency(outputs.baseline, outputs.followup, y, valid)
    return loss
