"""One loss for a list of outputs: deep supervision, with labels made coarser, or with outputs up-sampled."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    interpolate,
)

from lesionloss.core.errors import UsageError, expect_type
from lesionloss.losses.criterion import Loss
from lesionloss.losses.input_checks import (
    Spacing,
    kept_by_label,
    mask_of,
    plain_labels,
    plain_tensor,
    read_spacing,
)
from lesionloss.losses.voxels import LossOptions


class DeepSupervision(nn.Module):
    """A loss on every output of a network, highest resolution first.

    Labels are made coarser so that a small lesion can't vanish: a coarse voxel is lesion if any valid fine voxel under
    it is; of several lesion classes the one with most voxels there wins. Soft labels keep the largest share of
    lesion under the coarse voxel, split over the classes as they are there on average. A coarse voxel is valid if any
    fine one is, and has the largest weight under it.

    With `upsampled`, outputs are brought to the labels instead: logits are interpolated linearly to full resolution, as
    Hosseini 2025 (TopK Dice) does, and the losses are added up.
    """

    def __init__(self, loss: Loss, weights: Sequence[float] | None = None, *, upsampled: bool = False) -> None:
        """Supervise all outputs by one loss.

        Args:
            loss: what is computed for each output.
            weights: one number for each output, divided by their sum; None halves the weight from output to output.
                With `upsampled` they are taken as they are; None is 1 for each.
            upsampled: whether outputs are up-sampled and their losses added up.

        Raises:
            UsageError: the loss is none of ours, a weight is negative, not finite or no number, or all are 0.
        """
        super().__init__()
        expect_type(loss, Loss, "loss of deep supervision", "pass what build(text) gives")
        self.loss = loss
        self.weights = None if weights is None else _level_weights(weights)
        self.upsampled = upsampled

    def forward(
        self,
        outputs: Sequence[Tensor],
        labels: Tensor,
        valid: Tensor | None = None,
        reduce: bool = True,
        weight: Tensor | None = None,
        spacing_mm: Spacing | None = None,
        maps: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Tensor:
        """The weighted mean of the losses of the outputs; with `upsampled` their weighted sum.

        Args:
            outputs: (B, C, *space_i) each, highest resolution first.
            labels: as for `Loss`, at the resolution of the first output.
            valid: as for `Loss`.
            reduce: as for `Loss`.
            weight: as for `Loss`.
            spacing_mm: as for `Loss`, of the first output.
            maps: as for `Loss`, of the first output. Coarser outputs have coarser lesions, so the loss makes their maps
                itself, for which a GPU is waited for.
            progress: as for `Loss`.

        Raises:
            UsageError: there are more or fewer outputs than weights, or the first is not at full resolution.
        """
        if not isinstance(outputs, list | tuple) or not outputs:
            raise UsageError("deep supervision takes a list of outputs, highest resolution first")
        weights = self.weights or tuple((1.0 if self.upsampled else 0.5) ** level for level in range(len(outputs)))
        if len(weights) != len(outputs):
            raise UsageError(f"deep supervision has {len(weights)} weights for {len(outputs)} outputs")
        outputs = [plain_tensor(output, "logits") for output in outputs]
        labels = plain_labels(labels)
        full = outputs[0].shape[2:]
        if labels.shape[-len(full) :] != full:
            raise UsageError(
                f"the first output, {tuple(full)}, must have the resolution of labels {tuple(labels.shape)}"
            )
        if valid is not None:
            valid = plain_tensor(valid, "valid")
            if valid.numel() != labels.shape[0] * full.numel():
                raise UsageError(f"valid must be {(labels.shape[0], *full)}, got {tuple(valid.shape)}")
        edges = read_spacing(spacing_mm)
        edges = torch.ones(len(full), dtype=torch.float32, device="cpu") if edges is None else edges
        if weight is not None:
            weight = plain_tensor(weight, "weight").reshape(labels.shape[0], 1, *full)
            valid = (
                weight[:, 0] > 0
                if valid is None
                else mask_of(valid).reshape(labels.shape[0], *full) & (weight[:, 0] > 0)
            )
        total: Tensor = outputs[0].new_zeros(())
        for share, output in zip(weights, outputs, strict=True):
            if share > 0:
                fitting = upsample(output, full) if self.upsampled else output
                known, kept = coarser(labels, valid, fitting, self.loss.options)
                space = tuple(fitting.shape[2:])
                total = total + share * self.loss(
                    fitting,
                    known,
                    valid=kept,
                    reduce=reduce,
                    weight=None if weight is None else _pool(weight, space, largest=True)[:, 0],
                    spacing_mm=edges * torch.tensor([side / less for side, less in zip(full, space, strict=True)]),
                    maps=maps if space == tuple(full) else None,
                    progress=progress,
                )
        return total if self.upsampled else total / sum(weights)


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
    coarse_kept = None if kept is None else _pool(kept.float(), space, largest=True)[:, 0] > 0
    if options.multilabel or (fine.is_floating_point() and fine.shape[1] == 1 and output.shape[1] <= 2):
        return _pool(fine.to(output.dtype), space, largest=True), coarse_kept
    if fine.shape[1] > 1:
        return _coarser_shares(fine.to(output.dtype), space), coarse_kept
    return _coarser_numbers(fine[:, 0].long(), space, max(2, output.shape[1])), coarse_kept


def _pool(x: Tensor, space: tuple[int, ...], largest: bool) -> Tensor:
    if len(space) == 2:
        plane = (space[0], space[1])
        return adaptive_max_pool2d(x, plane) if largest else adaptive_avg_pool2d(x, plane)
    box = (space[0], space[1], space[2])
    return adaptive_max_pool3d(x, box) if largest else adaptive_avg_pool3d(x, box)


def _coarser_numbers(numbers: Tensor, space: tuple[int, ...], classes: int) -> Tensor:
    """Class numbers (B, *shape): the most frequent lesion class, background only where there is no lesion at all."""
    lesions = torch.stack([(numbers == number).float() for number in range(1, classes)], dim=1)
    shares = _pool(lesions, space, largest=False)
    return torch.where(shares.sum(1) > 0, shares.argmax(1) + 1, 0)


def _coarser_shares(fine: Tensor, space: tuple[int, ...]) -> Tensor:
    """Shares of the classes (B, K, *shape), one-hot included: the largest share of lesion, split as on average."""
    lesion = _pool(fine[:, 1:].sum(1, keepdim=True), space, largest=True)
    shares = _pool(fine[:, 1:], space, largest=False)
    lesions = lesion * shares / shares.sum(1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)
    return torch.cat([1 - lesion, lesions], dim=1)
