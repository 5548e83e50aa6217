"""A network applied to an image. Shapes: image (C, *space), logits and probabilities (K, *space)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lesionloss.core.argument_types import check_field_types, with_checked_types
from lesionloss.core.devices import without_default_device
from lesionloss.core.errors import DataError, UsageError, shown
from lesionloss.inference.modes import WINDOWS_PER_BATCH, InferenceMode, WholeImage
from lesionloss.networks.network_output import logits_of

Forward = Callable[[Tensor], Tensor]
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class Arithmetic:
    """The precision of the network and of the sums over windows.

    Args:
        precision: `float32`, or `bf16` or, on a GPU, `fp16` inside the network.
        stitched: Type in which windows are added up; float32 loses more than 1e-6 for overlaps above 0.5.
        together: Whether the windows of a batch go through the network in one pass on the CPU too. That is no faster
            there, and the last digits then depend on the size of the batch. On other devices they always do.
    """

    precision: str = "float32"
    stitched: torch.dtype = torch.float64
    together: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for a value of another type, and for another precision."""
        check_field_types(self)
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {shown(self.precision)}")


EXACT = Arithmetic()


def as_judged(precision: str) -> Arithmetic:
    """The arithmetic by which benchmark runs score their networks, and `predict` repeats what they did."""
    return Arithmetic(precision, stitched=torch.float32, together=True)


def forward_of(network: nn.Module, arithmetic: Arithmetic) -> Forward:
    """A function from a batch (B, C, *space) to the network's logits (B, K, *space), in the type of the batch."""

    def once(given: Tensor) -> Tensor:
        x = given.float().contiguous(memory_format=LAYOUTS.get(given.ndim, torch.contiguous_format))
        with torch.autocast(x.device.type, PRECISIONS[arithmetic.precision], enabled=arithmetic.precision != "float32"):
            logits = logits_of(network(x)).to(given.dtype)
        # MONAI multiplies its input in place, which must not be a part of the image.
        return logits.clone() if _shares_memory(logits, given) else logits

    def forward(given: Tensor) -> Tensor:
        if len(given) == 1 or arithmetic.together or given.device.type != "cpu":
            return once(given)
        return torch.cat([once(one[None]) for one in given])

    return forward


def _shares_memory(a: Tensor, b: Tensor) -> bool:
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)


@with_checked_types
@without_default_device
def predict_logits(
    network: nn.Module,
    image: Tensor,
    mode: InferenceMode,
    *,
    mirrored: Sequence[int] = (),
    arithmetic: Arithmetic = EXACT,
) -> Tensor:
    """Apply a network to an image.

    A network for slices is applied slice by slice along the last axis of a volume.

    Args:
        network: Its attributes `axes` and `multiple`, where it has them, say how many axes of space it takes and what
            their lengths must be multiples of.
        image: (C, *space), on the network's device.
        mode: Whole image or sliding window.
        mirrored: Axes of space (0, 1, 2); the mean over the image and all its mirror images along them is taken.
        arithmetic: Precision of the network and of the sums over windows.

    Returns:
        Logits (K, *space), float32.

    Raises:
        DataError: for an image with another number of axes.
        UsageError: for a mode that doesn't fit the axes or the network.
    """
    if image.ndim not in (3, 4):
        raise DataError(f"image: expected (channels, *space), got shape {tuple(image.shape)}")
    axes = int(getattr(network, "axes", image.ndim - 1))
    batch = image[None] if axes == image.ndim - 1 else image.movedim(-1, 0)  # (B, C, *space of the network)
    batch = batch if isinstance(mode, WholeImage) else batch.to(arithmetic.stitched)
    multiple = int(getattr(network, "multiple", 1))
    forward = forward_of(network, arithmetic)
    network.eval()
    with torch.inference_mode():
        total = _apply(forward, batch, mode, multiple)
        mirrors = list(_mirrors([axis + 2 for axis in mirrored if axis < axes]))
        for dims in mirrors:
            total = total + _apply(forward, batch.flip(dims), mode, multiple).flip(dims)
        mean = total / (1 + len(mirrors)) if mirrors else total
    return (mean[0] if axes == image.ndim - 1 else mean.movedim(0, -1)).float()


def _mirrors(axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return (chosen for count in range(1, len(axes) + 1) for chosen in combinations(axes, count))


def _apply(forward: Forward, batch: Tensor, mode: InferenceMode, multiple: int) -> Tensor:
    """Logits (B, K, *space) of a batch (B, C, *space)."""
    if isinstance(mode, WholeImage):
        return _whole(forward, batch, multiple)
    from monai.inferers.utils import sliding_window_inference

    axes = batch.ndim - 2
    sides = mode.sides(axes)
    if any(side % multiple for side in sides):
        near = math.ceil(max(sides) / multiple) * multiple
        raise UsageError(
            f"sliding_window of size {sides}: the network needs sides in multiples of {multiple}, e.g. {near}"
        )
    found = sliding_window_inference(
        batch,
        sides,
        mode.batch,
        _probabilities(forward) if mode.of_probabilities else forward,
        overlap=mode.overlaps(axes),
        mode="gaussian" if mode.gaussian else "constant",
    )
    if not isinstance(found, Tensor):
        raise TypeError(f"a network of one output gives one map of logits, got {type(found).__name__}")
    logits: Tensor = found  # where it is: torch.as_tensor would copy it to the default device
    return _as_logits(logits) if mode.of_probabilities else logits


def _whole(forward: Forward, batch: Tensor, multiple: int) -> Tensor:
    sides = batch.shape[2:]
    missing = [-side % multiple for side in sides]
    before = [gap // 2 for gap in missing]
    pads = [pad for gap, left in zip(missing, before, strict=True) for pad in (gap - left, left)]
    padded = F.pad(batch, pads[::-1]) if any(missing) else batch
    logits = torch.cat([forward(part) for part in torch.split(padded, WINDOWS_PER_BATCH)])
    inside = tuple(slice(left, left + side) for left, side in zip(before, sides, strict=True))
    return logits[(slice(None), slice(None), *inside)]


def _probabilities(forward: Forward) -> Forward:
    return lambda x: probabilities_of(forward(x), 1)


def probabilities_of(logits: Tensor, axis: int = 0) -> Tensor:
    """Probabilities of logits, in the same shape: sigmoid of one channel, softmax of several along `axis`."""
    return torch.sigmoid(logits) if logits.shape[axis] == 1 else torch.softmax(logits, axis)


def _as_logits(probabilities: Tensor) -> Tensor:
    """Logits (B, K, *space) whose `probabilities_of` are these; the mean of probabilities stays what it is."""
    tiny = torch.finfo(probabilities.dtype).tiny
    if probabilities.shape[1] == 1:
        return probabilities.clamp_min(tiny).log() - (1 - probabilities).clamp_min(tiny).log()
    return probabilities.clamp_min(tiny).log()


def check_finite(logits: Tensor, name: str) -> None:
    """Check that all logits are finite.

    Raises:
        DataError: for NaN or infinite logits; it names the case.
    """
    if not bool(torch.isfinite(logits).all()):
        raise DataError(
            f"{name}: the network gives NaN or infinite values; try --precision float32, or take an earlier checkpoint"
        )
