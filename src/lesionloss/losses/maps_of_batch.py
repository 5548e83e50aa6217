"""The maps of the reference of a batch, before there are logits: for data workers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lesionloss.losses.alignment import Extras, align
from lesionloss.losses.input_checks import Spacing, look, plain_labels, plain_tensor, read_spacing
from lesionloss.losses.kernels import READABLE
from lesionloss.losses.loss_options import LossOptions


def maps_of_batch(
    names: Sequence[str],
    options: LossOptions,
    labels: Tensor,
    valid: Tensor | None = None,
    spacing_mm: Spacing | None = None,
    channels: int = 1,
) -> dict[str, Tensor]:
    """Compute maps of the reference by name; see `Loss.reference_maps`."""
    if not names:
        return {}
    known = plain_labels(labels)
    with_channels = known.dim() == 5 or (known.dim() == 4 and known.shape[1] in (1, channels))
    space = known.shape[2 if with_channels else 1 :]
    logits = torch.zeros((), device=known.device).expand(known.shape[0], channels, *space)
    mask = None if valid is None else plain_tensor(valid, "valid")
    v = align(logits, known, mask, options, READABLE, Extras(None, read_spacing(spacing_mm)))
    look(v.logits, v.labels, v.valid)
    return {name: v.reference_map(name).reshape(known.shape[0], -1, *space) for name in names}
