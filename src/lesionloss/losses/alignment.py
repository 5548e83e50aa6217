"""From what a training loop has to `Voxels`: shapes, heads, label forms, masks, weights, maps, precision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lesionloss.core.errors import UsageError
from lesionloss.losses.input_checks import kept_by_label, mask_of, may_look, refuse_sums
from lesionloss.losses.kernels import Kernel
from lesionloss.losses.loss_options import LossOptions
from lesionloss.losses.voxels import Voxels


@dataclass(frozen=True)
class Extras:
    """What a call may bring beside logits, labels and mask.

    Attributes:
        weight: (B, *space) or (B, 1, *space), the weight of each voxel.
        spacing_mm: (axes,) or (B, axes) on the CPU, edge lengths of a voxel.
        maps: maps of the reference by name, (B, L, *space) each, L the number of lesion classes.
        progress: how far training is, from 0 to 1; for the weights of summands.
    """

    weight: Tensor | None = None
    spacing_mm: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    progress: float = 1.0


NO_EXTRAS = Extras()


def align(
    logits: Tensor,
    labels: Tensor,
    valid: Tensor | None,
    options: LossOptions,
    kernel: Kernel,
    extras: Extras = NO_EXTRAS,
) -> Voxels:
    """Check and line up one batch.

    Args:
        logits: (B, C, *space), *space of two or three axes.
        labels: (B, *space) or (B, 1, *space) with class numbers (a floating-point map with C <= 2 is the share of the
            lesion), or (B, C, *space), one-hot or soft.
        valid: (B, *space) or (B, 1, *space), or None if all voxels are valid.
        options: the options of the loss.
        kernel: the implementation of the sums.
        extras: weights, spacing and maps.

    Raises:
        UsageError: shapes, types or devices do not fit. Values are checked by `input_checks.look`.
    """
    _check_logits(logits)
    _check_class_weights(logits, options)
    weight = _one_map(logits, extras.weight, "weight")
    mask = _mask(logits, labels, valid, options)
    if weight is not None:
        weighted = weight > 0
        mask = weighted if mask is None else mask & weighted
        weight = torch.where(mask, weight, 0.0)
    aligned = _labels(logits, labels, mask, options)
    batch, channels = logits.shape[:2]
    flat = logits.reshape(batch, channels, -1)
    if flat.dtype not in (torch.float32, torch.float64):
        flat = flat.float()
    groups = 1
    if options.multilabel:
        groups = channels
        flat = flat.reshape(batch * channels, 1, -1)
        mask, weight = (None if x is None else x.repeat_interleave(channels, 0) for x in (mask, weight))
    elif channels == 2:
        background, lesion = flat.unbind(1)  # not two slices: their gradients would each be a whole batch of zeros
        flat = (lesion - background)[:, None]
    if mask is not None:
        flat = torch.where(mask[:, None], flat, 0.0)
    return Voxels(
        flat,
        aligned.to(flat.dtype) if aligned.dim() == 3 else aligned,
        mask,
        None if weight is None else weight.to(flat.dtype),
        kernel,
        options,
        groups,
        tuple(logits.shape[2:]),
        _spacing(logits, extras.spacing_mm, groups),
        {name: _map(logits, given, name, options.multilabel) for name, given in extras.maps.items()},
    )


def _check_logits(logits: Tensor) -> None:
    if not logits.is_floating_point():
        raise UsageError(f"logits must be floating point, got {logits.dtype}")
    if logits.dim() not in (4, 5):
        raise UsageError(
            f"logits must be (B, C, H, W) or (B, C, D, H, W), got {_shape(logits)}; "
            "if the class axis is missing, logits.unsqueeze(1) adds it"
        )
    if logits.numel() == 0:
        raise UsageError(f"logits are empty: {_shape(logits)}")


def _check_class_weights(logits: Tensor, options: LossOptions) -> None:
    channels, weights = logits.shape[1], options.class_weights
    expected = channels if options.multilabel else max(2, channels)
    if weights is None or (len(weights) == expected and any(weights[0 if options.multilabel else 1 :])):
        return
    raise UsageError(
        f"class_weights must be {expected} numbers for logits {_shape(logits)}, "
        + ("one for each channel" if options.multilabel else "background first and a lesion class above 0")
        + f"; got {weights}"
    )


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def _one_map(logits: Tensor, given: Tensor | None, name: str) -> Tensor | None:
    """One number for each voxel, (B, V)."""
    if given is None:
        return None
    batch, space = logits.shape[0], tuple(logits.shape[2:])
    if tuple(given.shape) not in ((batch, *space), (batch, 1, *space)):
        raise UsageError(f"{name} must be {(batch, *space)} for logits {_shape(logits)}, got {_shape(given)}")
    _same_device(logits, given, name)
    return given.detach().reshape(batch, -1)


def _same_device(logits: Tensor, given: Tensor, name: str) -> None:
    if given.device != logits.device:
        raise UsageError(f"{name} is on {given.device}, logits on {logits.device}; move one of them")


def _spacing(logits: Tensor, given: Tensor | None, groups: int) -> Tensor | None:
    """Edge lengths of a voxel for each row, (R, axes), or for all of them, (1, axes)."""
    axes = logits.dim() - 2
    if given is None:
        return None
    if tuple(given.shape) == (axes,):
        return given[None]
    if tuple(given.shape) not in ((logits.shape[0], axes),):
        raise UsageError(
            f"spacing_mm must be {axes} numbers, or {(logits.shape[0], axes)}, for logits {_shape(logits)}; "
            f"got {_shape(given)}"
        )
    return given.repeat_interleave(groups, 0)


def _map(logits: Tensor, given: Tensor, name: str, multilabel: bool) -> Tensor:
    """A map of the reference, (R, K-1, V)."""
    batch, channels = logits.shape[:2]
    lesion_classes = channels if multilabel else max(1, channels - 1)
    wanted = (batch, lesion_classes, *logits.shape[2:])
    if tuple(given.shape) not in (wanted,):
        raise UsageError(
            f"map {name!r} must be {wanted} for logits {_shape(logits)}, got {_shape(given)}; "
            "reference_maps of the loss makes it"
        )
    _same_device(logits, given, f"map {name!r}")
    rows = batch * channels if multilabel else batch
    return given.detach().reshape(rows, -1, math.prod(wanted[2:]))


def _mask(logits: Tensor, labels: Tensor, valid: Tensor | None, options: LossOptions) -> Tensor | None:
    """The valid voxels as (B, V), or None if all are."""
    batch, space = logits.shape[0], tuple(logits.shape[2:])
    known = _one_map(logits, valid, "valid")
    mask = None if known is None else mask_of(known)
    if options.ignore_index is not None:
        if tuple(labels.shape) not in ((batch, *space), (batch, 1, *space)):
            raise UsageError(f"ignore_index needs labels with class numbers, {(batch, *space)}; got {_shape(labels)}")
        kept = kept_by_label(labels, options.ignore_index).reshape(batch, -1)
        mask = kept if mask is None else mask & kept
    return mask


def _labels(logits: Tensor, labels: Tensor, mask: Tensor | None, options: LossOptions) -> Tensor:
    """Class numbers (R, V), or shares (R, K, V); harmless in masked voxels."""
    batch, channels, *space = logits.shape
    if labels.device != logits.device:
        raise UsageError(f"labels are on {labels.device}, logits on {logits.device}; move one of them")
    one_map = tuple(labels.shape) in ((batch, *space), (batch, 1, *space))
    if not one_map and tuple(labels.shape) != (batch, channels, *space):
        raise UsageError(
            f"labels must be {(batch, *space)}, {(batch, 1, *space)} or {(batch, channels, *space)} "
            f"for logits {_shape(logits)}, got {_shape(labels)}"
        )
    if options.multilabel and one_map and channels > 1:
        raise UsageError(f"multilabel needs one map per channel, {(batch, channels, *space)}; got {_shape(labels)}")
    flat = labels.detach().reshape(batch, -1 if one_map else channels, math.prod(space))
    if mask is not None:
        flat = torch.where(mask[:, None], flat, torch.zeros((), dtype=flat.dtype, device=flat.device))
    if options.multilabel or channels == 1:
        return _two_classes(flat.reshape(batch * channels, -1))
    if one_map:
        return _two_classes(flat[:, 0]) if channels == 2 else _whole(flat[:, 0])
    return _per_class(flat, mask)


def _whole(numbers: Tensor) -> Tensor:
    """Class numbers that came as floating point."""
    if not numbers.is_floating_point():
        return numbers
    rounded = numbers.long()
    # Parts of a class can't be told apart in one map; out of range, they are refused or poison the loss as others do.
    return torch.where(rounded == numbers, rounded, -1)


def _two_classes(lesion: Tensor) -> Tensor:
    """A map of the lesion: class numbers stay, a floating-point share becomes the shares of both classes."""
    if not lesion.is_floating_point():
        return lesion
    if may_look(lesion):
        numbers = lesion.to(torch.uint8)
        if torch.equal(numbers.to(lesion.dtype), lesion):
            return numbers  # the same labels, and faster
    return torch.stack([1 - lesion, lesion], dim=1)


def _per_class(shares: Tensor, mask: Tensor | None) -> Tensor:
    """One map per class; one-hot labels in whole numbers become class numbers."""
    if not shares.is_floating_point():
        shares = shares.to(torch.uint8) if shares.dtype == torch.bool else shares
        if may_look(shares, *(() if mask is None else (mask,))):
            sums = shares.sum(1)
            refuse_sums((sums != 1) if mask is None else (sums != 1) & mask)
        return shares.argmax(1)
    return shares
