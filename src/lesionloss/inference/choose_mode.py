"""Choose the fastest inference mode that fits the memory.

The whole image at once computes every voxel once; a sliding window computes voxels several times where windows overlap.
The whole image is chosen where a network's output at a voxel depends on a neighbourhood only. Layers that normalise by
the mean over their input (group, instance, layer norm) or attend to all of it give other outputs in an image than in
the patches they were trained with; these networks get a sliding window as large as the patches. Where the whole image
doesn't fit the memory, it is cut in as few windows as possible.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from lesionloss.core.allocator import keep_freed_memory
from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import UsageError
from lesionloss.inference.memory import bytes_of_pass, free_bytes
from lesionloss.inference.modes import WINDOWS_PER_BATCH, InferenceMode, SlidingWindow, WholeImage
from lesionloss.networks.layers import ChannelDropout

# Memory of a pass / tensors alive at once: 1.0 to 1.15 were measured with oneDNN for V-Nets, 1.7 in its older layout.
LIBRARY_FACTOR = 1.4
# The same again where the process keeps freed memory: pieces of different size are not joined.
KEPT_FACTOR = 2.0
# Share of the free memory that may be used; the rest is for images, the system, and others.
USABLE_SHARE = 0.8
# Between large windows: each voxel then has its neighbourhood in one of them; see benchmarks/inference.py.
OVERLAP = 0.25

_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)
_LOCAL = (
    *(nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, *_NORMS, nn.Upsample),
    *(nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Identity),
    *(nn.Dropout, nn.Dropout2d, nn.Dropout3d, ChannelDropout),
)


@dataclass(frozen=True)
class ChosenMode:
    """An inference mode, why it was chosen, and the memory it is expected to need (None: not known)."""

    mode: InferenceMode
    reason: str
    needed_bytes: int | None = None

    def __str__(self) -> str:
        """Mode, reason and memory in one line."""
        needed = "" if self.needed_bytes is None else f", about {self.needed_bytes / 1e9:.1f} GB"
        return f"{self.mode} ({self.reason}{needed})"


def is_local(network: nn.Module) -> bool:
    """Whether the output of every layer depends on a neighbourhood only; False where that is not known."""
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    return all(
        isinstance(leaf, _LOCAL) and (not isinstance(leaf, _NORMS) or leaf.track_running_stats) for leaf in leaves
    )


@with_checked_types
def choose_inference_mode(
    network: nn.Module,
    shape: Sequence[int],
    *,
    own: SlidingWindow,
    precision: str,
    device: str,
    free: int | None = None,
) -> ChosenMode:
    """Choose the fastest inference mode for an image.

    Args:
        network: As it will be used; nothing is computed.
        shape: Of the image, (C, *space).
        own: The sliding window with which the network was evaluated, as large as its training patches.
        precision: `float32`, `bf16` or, on a GPU, `fp16` inside the network.
        device: Where the network will run.
        free: Bytes that may be used; None asks the device.

    Returns:
        The mode and the reason; a sliding window where the memory or its need is not known.

    Raises:
        UsageError: for a shape or window with another number of axes.
    """
    if len(shape) not in (3, 4):
        raise UsageError(f"shape: expected (channels, *space), got {tuple(shape)}")
    own.sides(int(getattr(network, "axes", len(shape) - 1)))
    free = free_bytes(device) if free is None else min(free, sys.maxsize)
    last: ChosenMode | None = None
    for mode, reason in _from_fast_to_frugal(network, shape[1:], own):
        needed = _needed(network, shape, mode, precision)
        last = ChosenMode(mode, reason, needed)
        fits = free is not None and needed is not None and needed <= USABLE_SHARE * free
        if fits or (isinstance(mode, SlidingWindow) and (free is None or needed is None)):
            return last
    if last is None:
        raise ValueError("no inference mode to choose from")
    return ChosenMode(last.mode, f"{last.reason}; memory is short", last.needed_bytes)


def _from_fast_to_frugal(
    network: nn.Module, space: Sequence[int], own: SlidingWindow
) -> Iterator[tuple[InferenceMode, str]]:
    axes = int(getattr(network, "axes", len(space)))
    multiple = int(getattr(network, "multiple", 1))
    own = replace(own, size=own.size[:axes])
    if is_local(network):
        yield WholeImage(), "every voxel is computed once"
        for sides in _decreasing_windows(space[:axes], own.size, multiple):
            yield replace(own, size=sides, overlap=OVERLAP, batch=1), "largest window that fits the memory"
        why = "window of the model's own size: a larger one does not fit the memory"
    else:
        why = "window of the model's own size: its network normalises or attends over its whole input"
    for batch in (WINDOWS_PER_BATCH, 1):
        yield replace(own, batch=batch), why


def _decreasing_windows(space: Sequence[int], window: tuple[int, ...], multiple: int) -> Iterator[tuple[int, ...]]:
    """Sides of windows: two windows along the longest axis, then along the next, and so on down to `window`."""
    parts = [1] * len(space)
    while True:
        sides = tuple(
            max(trained, math.ceil(side / (1 + (count - 1) * (1 - OVERLAP)) / multiple) * multiple)
            for side, count, trained in zip(space, parts, window, strict=True)
        )
        if sides == window:
            return
        if max(parts) > 1:
            yield sides
        excess = [side / trained for side, trained in zip(sides, window, strict=True)]
        parts[excess.index(max(excess))] += 1


def keep_memory_for(choice: ChosenMode, device: str, free: int | None = None) -> bool:
    """Let this process keep freed memory for later, which is faster, where there is enough of it.

    Args:
        choice: The mode that will be used.
        device: Where the network will run; only on the CPU something is changed.
        free: Bytes that may be used; None asks the device.

    Returns:
        Whether freed memory is kept now.
    """
    free = free_bytes(device) if free is None else free
    if device != "cpu" or choice.needed_bytes is None or free is None:
        return False
    return KEPT_FACTOR * choice.needed_bytes <= USABLE_SHARE * free and keep_freed_memory()


def _needed(network: nn.Module, shape: Sequence[int], mode: InferenceMode, precision: str) -> int | None:
    """Bytes for the passes and for the sums over windows; None where the network can't be analysed."""
    axes = int(getattr(network, "axes", len(shape) - 1))
    multiple = int(getattr(network, "multiple", 1))
    device = next((tensor.device.type for tensor in network.parameters()), "cpu")
    slices = math.prod(shape[1 + axes :])
    if isinstance(mode, WholeImage):
        sides, batch = (
            tuple(math.ceil(side / multiple) * multiple for side in shape[1 : 1 + axes]),
            min(slices, WINDOWS_PER_BATCH),
        )
    else:
        sides, batch = mode.sides(axes), mode.batch
    try:
        one = bytes_of_pass(network, (1, shape[0], *sides), precision)
    except Exception:  # foreign code may do anything; then the need is not known, and prediction itself goes on
        return None
    return (
        round(LIBRARY_FACTOR * one * (1 if device == "cpu" else batch))
        + 4 * math.prod(shape)
        + 16 * math.prod(shape[1:])
    )
