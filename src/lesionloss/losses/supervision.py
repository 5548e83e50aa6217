"""One loss for a list of outputs: deep supervision, with labels made coarser, or with outputs up-sampled."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lesionloss.core.errors import UsageError, expect_type
from lesionloss.losses.coarser_labels import coarser, pool, upsample
from lesionloss.losses.criterion import Loss
from lesionloss.losses.input_checks import (
    Spacing,
    mask_of,
    plain_labels,
    plain_tensor,
    read_spacing,
)
from lesionloss.losses.loss_options import LossOptions

Criterion = Loss | Callable[[Tensor, Tensor], Tensor]


class _Target(NamedTuple):
    """What the loss of one output gets beside its logits."""

    labels: Tensor
    valid: Tensor | None = None
    weight: Tensor | None = None
    spacing_mm: Tensor | None = None
    maps: Mapping[str, Tensor] | None = None


class DeepSupervision(nn.Module):
    """A loss on every output of a network, highest resolution first.

    Labels are made coarser so that a small lesion can't vanish: a coarse voxel is lesion if any valid fine voxel under
    it is; of several lesion classes the one with most voxels there wins. Soft labels keep the largest share of
    lesion under the coarse voxel, split over the classes as they are there on average. A coarse voxel is valid if any
    fine one is, and has the largest weight under it. Labels that come as a list, one for each output, are used as they
    are (nnU-Net).

    With `upsampled`, outputs are brought to the labels instead: logits are interpolated linearly to full resolution, as
    Hosseini 2024 (TopK Dice) does, and the losses are added up.
    """

    def __init__(self, loss: Criterion, weights: Sequence[float] | None = None, *, upsampled: bool = False) -> None:
        """Supervise all outputs by one loss.

        Args:
            loss: what is computed for each output: what `build` gives, or a loss of another library,
                `(logits, labels) -> scalar`. That gets labels with the axes and the type that they come with.
            weights: one number for each output, divided by their sum; None halves the weight from output to output.
                With `upsampled` they are taken as they are; None is 1 for each.
            upsampled: whether outputs are up-sampled and their losses added up.

        Raises:
            UsageError: the loss can't be called, a weight is negative, not finite or no number, or all are 0.
        """
        super().__init__()
        _check_callable(loss)
        self.loss = loss
        self.weights = None if weights is None else _level_weights(weights)
        self.upsampled = upsampled

    def forward(
        self,
        outputs: Sequence[Tensor] | Tensor,
        labels: Tensor | Sequence[Tensor],
        valid: Tensor | None = None,
        reduce: bool = True,
        weight: Tensor | None = None,
        spacing_mm: Spacing | None = None,
        maps: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Tensor:
        """The weighted mean of the losses of the outputs; with `upsampled` their weighted sum.

        Args:
            outputs: (B, C, *space_i) each, highest resolution first; or (B, outputs, C, *space), stacked as MONAI's
                DynUNet gives them while it trains; (B, C, *space) is one output.
            labels: as for `Loss`, at the resolution of the first output; or a list with those of each output, which
                excludes `valid`, `weight` and `maps`.
            valid: as for `Loss`. Only losses of `build` take this and what follows.
            reduce: as for `Loss`.
            weight: as for `Loss`.
            spacing_mm: as for `Loss`, of the first output.
            maps: as for `Loss`, of the first output. Coarser outputs have coarser lesions, so the loss makes their maps
                itself, for which a GPU is waited for.
            progress: as for `Loss`.

        Raises:
            UsageError: there are more or fewer outputs than weights or labels, or resolutions do not fit.
        """
        levels = [plain_tensor(output, "logits") for output in _levels(outputs, labels)]
        shares = self.weights or tuple((1.0 if self.upsampled else 0.5) ** level for level in range(len(levels)))
        if len(shares) != len(levels):
            raise UsageError(f"deep supervision has {len(shares)} weights for {len(levels)} outputs")
        beside = any(x is not None for x in (valid, weight, maps))
        if not isinstance(self.loss, Loss) and (beside or spacing_mm is not None or reduce is not True):
            raise UsageError("a loss that is not of lesionloss.build takes logits and labels alone")
        if isinstance(labels, list | tuple):
            if beside:
                raise UsageError("valid=, weight= and maps= need one map of labels; ignore_index= masks labels")
            known = _each_labels(levels, labels)
            first = _Target(known[0], spacing_mm=read_spacing(spacing_mm))
        else:
            known, first = None, _first_target(levels[0], labels, valid, weight, spacing_mm, maps)
        total: Tensor = levels[0].new_zeros(())
        for number, (share, level) in enumerate(zip(shares, levels, strict=True)):
            if share > 0:
                fitting = upsample(level, levels[0].shape[2:]) if self.upsampled else level
                target = self._coarser(
                    first if known is None else first._replace(labels=known[number]), fitting, levels[0]
                )
                total = total + share * self._value(fitting, target, reduce, progress)
        return total if self.upsampled else total / sum(shares)

    def _value(self, logits: Tensor, target: _Target, reduce: bool, progress: float) -> Tensor:
        if not isinstance(self.loss, Loss):
            return self.loss(logits, target.labels)
        return self.loss(
            logits,
            target.labels,
            valid=target.valid,
            reduce=reduce,
            weight=target.weight,
            spacing_mm=target.spacing_mm,
            maps=target.maps,
            progress=progress,
        )

    def _coarser(self, target: _Target, level: Tensor, first: Tensor) -> _Target:
        """The target of the first output at the resolution of another one."""
        full, space = tuple(first.shape[2:]), tuple(level.shape[2:])
        known, options = target.labels, self.loss.options if isinstance(self.loss, Loss) else LossOptions()
        edges = (
            torch.ones(len(full), dtype=torch.float32, device="cpu") if target.spacing_mm is None else target.spacing_mm
        )
        labels, valid = coarser(known, target.valid, level, options)
        if not isinstance(self.loss, Loss):
            shape = (labels.shape[0], *([] if known.dim() < level.dim() else [known.shape[1]]), *space)
            labels = labels.reshape(shape)
            labels = labels if labels.is_floating_point() else labels.to(known.dtype)
        return _Target(
            labels,
            valid,
            None if target.weight is None else pool(target.weight, space, largest=True)[:, 0],
            edges * torch.tensor([side / less for side, less in zip(full, space, strict=True)]),
            target.maps if space == full else None,
        )


def _first_target(
    level: Tensor,
    labels: object,
    valid: Tensor | None,
    weight: Tensor | None,
    spacing_mm: Spacing | None,
    maps: Mapping[str, Tensor] | None,
) -> _Target:
    """What came with the call, checked; the weight as (B, 1, *space), and 0 where it masks a voxel."""
    known, full = plain_labels(labels), level.shape[2:]
    _check_space(level, known, "the first output")
    if valid is not None:
        valid = plain_tensor(valid, "valid")
        if valid.numel() != known.shape[0] * full.numel():
            raise UsageError(f"valid must be {(known.shape[0], *full)}, got {tuple(valid.shape)}")
    if weight is not None:
        weight = plain_tensor(weight, "weight").reshape(known.shape[0], 1, *full)
        counts = weight[:, 0] > 0
        valid = counts if valid is None else mask_of(valid).reshape(known.shape[0], *full) & counts
    return _Target(known, valid, weight, read_spacing(spacing_mm), maps)


def _check_callable(loss: object) -> None:
    if not callable(loss):
        expect_type(loss, Loss, "loss of deep supervision", "pass what build(text) gives")


def _levels(outputs: Sequence[Tensor] | Tensor, labels: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """The outputs one by one, highest resolution first."""
    if isinstance(outputs, Tensor):
        batch, space = outputs.shape[:1], outputs.shape[3:]
        one_map = isinstance(labels, Tensor) and labels.shape in ((*batch, *space), (*batch, 1, *space))
        stacked = outputs.dim() == 6 or (outputs.dim() == 5 and one_map)
        return outputs.unbind(1) if stacked else [outputs]
    if not isinstance(outputs, list | tuple) or not outputs:
        raise UsageError("deep supervision takes a list of outputs, highest resolution first")
    return outputs


def _each_labels(levels: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
    if len(labels) != len(levels):
        raise UsageError(f"deep supervision has {len(labels)} labels for {len(levels)} outputs")
    known = [plain_labels(given) for given in labels]
    for number, (level, given) in enumerate(zip(levels, known, strict=True), 1):
        _check_space(level, given, f"output {number}")
    return known


def _check_space(level: Tensor, labels: Tensor, name: str) -> None:
    full = level.shape[2:]
    if labels.shape[-len(full) :] != full:
        raise UsageError(f"{name}, {tuple(full)}, must have the resolution of labels {tuple(labels.shape)}")


def _level_weights(weights: Sequence[float]) -> tuple[float, ...]:
    try:
        found = tuple(map(float, weights))
    except (TypeError, ValueError):
        found = ()
    if not found or min(found) < 0 or not 0 < sum(found) < math.inf:
        raise UsageError(
            f"weights of deep supervision must be finite, must not be negative, and not all 0; got {weights!r}"
        )
    return found
