"""Labels at the resolution of a coarser output, so that no lesion vanishes, and outputs at that of the labels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import (
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    interpolate,
)

from lesionloss.losses.input_checks import kept_by_label, mask_of
from lesionloss.losses.loss_options import LossOptions


def upsample(output: Tensor, space: Sequence[int]) -> Tensor:
    """Logits (B, C, *space_i) interpolated linearly to (B, C, *space)."""
    if output.shape[2:] == tuple(space):
        return output
    return interpolate(output, size=tuple(space), mode="bilinear" if len(space) == 2 else "trilinear")


def coarser(labels: Tensor, valid: Tensor | None, output: Tensor, options: LossOptions) -> tuple[Tensor, Tensor | None]:
    """Labels and mask at the resolution of an output (B, C, *space), by the rule of `DeepSupervision`."""
    space = tuple(output.shape[2:])
    if tuple(labels.shape[-len(space) :]) == space:
        return labels, valid
    shape = labels.shape[-len(space) :]
    fine = labels.reshape(labels.shape[0], -1, *shape)
    kept = None if valid is None else mask_of(valid).reshape(labels.shape[0], 1, *shape)
    if options.ignore_index is not None:
        known = kept_by_label(fine, options.ignore_index)
        kept = known if kept is None else kept & known
    if kept is not None:
        fine = torch.where(kept, fine, torch.zeros((), dtype=fine.dtype, device=fine.device))
    coarse_kept = None if kept is None else pool(kept.float(), space, largest=True)[:, 0] > 0
    if options.multilabel or (fine.is_floating_point() and fine.shape[1] == 1 and output.shape[1] <= 2):
        return pool(fine.to(output.dtype), space, largest=True), coarse_kept
    if fine.shape[1] > 1:
        return _coarser_shares(fine.to(output.dtype), space), coarse_kept
    return _coarser_numbers(fine[:, 0].long(), space, max(2, output.shape[1])), coarse_kept


def pool(x: Tensor, space: tuple[int, ...], largest: bool) -> Tensor:
    """The largest values or the means of x (B, C, *shape) under coarser voxels: (B, C, *space)."""
    if len(space) == 2:
        plane = (space[0], space[1])
        return adaptive_max_pool2d(x, plane) if largest else adaptive_avg_pool2d(x, plane)
    box = (space[0], space[1], space[2])
    return adaptive_max_pool3d(x, box) if largest else adaptive_avg_pool3d(x, box)


def _coarser_numbers(numbers: Tensor, space: tuple[int, ...], classes: int) -> Tensor:
    """Class numbers (B, *shape): the most frequent lesion class, background only where there is no lesion at all."""
    lesions = torch.stack([(numbers == number).float() for number in range(1, classes)], dim=1)
    shares = pool(lesions, space, largest=False)
    return torch.where(shares.sum(1) > 0, shares.argmax(1) + 1, 0)


def _coarser_shares(fine: Tensor, space: tuple[int, ...]) -> Tensor:
    """Shares of the classes (B, K, *shape), one-hot included: the largest share of lesion, split as on average."""
    lesion = pool(fine[:, 1:].sum(1, keepdim=True), space, largest=True)
    shares = pool(fine[:, 1:], space, largest=False)
    lesions = lesion * shares / shares.sum(1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)
    return torch.cat([1 - lesion, lesions], dim=1)
