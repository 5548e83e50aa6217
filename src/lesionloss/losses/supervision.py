"""One loss for a list of outputs: deep supervision, with labels made coarser, or with outputs up-sampled."""

import math
from collections.abc import Callable, Iterator, Sequence

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
from lesionloss.losses.input_checks import kept_by_label, mask_of, plain_labels, plain_tensor
from lesionloss.losses.loss_options import LossOptions

Criterion = Loss | Callable[[Tensor, Tensor], Tensor]


class DeepSupervision(nn.Module):
    """A loss on every output of a network, highest resolution first.

    Labels are made coarser so that a small lesion can't vanish: a coarse voxel is lesion if any valid fine voxel under
    it is; of several lesion classes the one with most voxels there wins. Soft labels keep the largest share of
    lesion under the coarse voxel, split over the classes as they are there on average. A coarse voxel is valid if any
    fine one is. Labels that come as a list, one for each output, are used as they are (nnU-Net).

    With `upsampled`, outputs are brought to the labels instead: logits are interpolated linearly to full resolution, as
    Hosseini 2025 (TopK Dice) does, and the losses are added up.
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
    ) -> Tensor:
        """The weighted mean of the losses of the outputs; with `upsampled` their weighted sum.

        Args:
            outputs: (B, C, *space_i) each, highest resolution first; or (B, outputs, C, *space), stacked as MONAI's
                DynUNet gives them while it trains; (B, C, *space) is one output.
            labels: as for `Loss`, at the resolution of the first output; or a list with those of each output.
            valid: as for `Loss`; only with one map of labels and a loss of `build`.
            reduce: as for `Loss`; True for other losses.

        Raises:
            UsageError: there are more or fewer outputs than weights or labels, or resolutions do not fit.
        """
        levels = [plain_tensor(output, "logits") for output in _levels(outputs, labels)]
        weights = self.weights or tuple((1.0 if self.upsampled else 0.5) ** level for level in range(len(levels)))
        if len(weights) != len(levels):
            raise UsageError(f"deep supervision has {len(weights)} weights for {len(levels)} outputs")
        if not isinstance(self.loss, Loss) and (valid is not None or reduce is not True):
            raise UsageError("valid= and reduce=False need a loss of lesionloss.build inside the deep supervision")
        total: Tensor = levels[0].new_zeros(())
        targets = self._targets(levels, labels, valid)
        for weight, level, (known, kept) in zip(weights, levels, targets, strict=True):
            if weight > 0:
                fitting = upsample(level, known.shape[2 - level.dim() :]) if self.upsampled else level
                total = total + weight * self._value(fitting, known, kept, reduce)
        return total if self.upsampled else total / sum(weights)

    def _value(self, logits: Tensor, labels: Tensor, valid: Tensor | None, reduce: bool) -> Tensor:
        if isinstance(self.loss, Loss):
            return self.loss(logits, labels, valid=valid, reduce=reduce)
        return self.loss(logits, labels)

    def _targets(
        self, levels: Sequence[Tensor], labels: Tensor | Sequence[Tensor], valid: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Labels and mask for each output."""
        if isinstance(labels, list | tuple):
            for number, (level, given) in enumerate(zip(levels, _each_labels(levels, labels, valid), strict=True), 1):
                _check_space(level, given, f"output {number}")
                yield given, None
            return
        known, kept = plain_labels(labels), None if valid is None else plain_tensor(valid, "valid")
        _check_space(levels[0], known, "the first output")
        full = levels[0].shape[2:]
        if kept is not None and kept.numel() != known.shape[0] * full.numel():
            raise UsageError(f"valid must be {(known.shape[0], *full)}, got {tuple(kept.shape)}")
        for level in levels:
            if self.upsampled:
                yield known, kept
            elif isinstance(self.loss, Loss):
                yield coarser(known, kept, level, self.loss.options)
            else:
                coarse = coarser(known, kept, level, LossOptions())[0]
                shape = (coarse.shape[0], *([] if known.dim() < level.dim() else [known.shape[1]]), *level.shape[2:])
                coarse = coarse.reshape(shape)
                yield coarse if coarse.is_floating_point() else coarse.to(known.dtype), None


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


def _each_labels(levels: Sequence[Tensor], labels: Sequence[Tensor], valid: Tensor | None) -> Sequence[Tensor]:
    if len(labels) != len(levels):
        raise UsageError(f"deep supervision has {len(labels)} labels for {len(levels)} outputs")
    if valid is not None:
        raise UsageError(
            "valid= needs one map of labels; mask the labels of each output with ignore_index= of the loss"
        )
    return [plain_labels(given) for given in labels]


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
