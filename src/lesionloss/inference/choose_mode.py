"""The fastest way that fits the memory.

The whole image at once computes every voxel once; windows compute those where they overlap several times. It is taken
where a network's answer at a voxel depends on its neighbourhood only. Layers that normalise by the mean of what they
see (group, instance, layer norm) or attend to all of it answer differently in an image than in the patches they were
trained with; these networks get windows as large as the patches. Where the whole image doesn't fit, it is cut in as few
windows as possible.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from lesionloss.core.allocator import keep_freed_memory
from lesionloss.inference.memory import bytes_of_pass, free_bytes
from lesionloss.inference.modes import AT_ONCE, Way, Whole, Windows
from lesionloss.networks.layers import ChannelDropout

# Of the memory of the tensors alive at once: 1.0 to 1.15 were measured with oneDNN for V-Nets, 1.7 in its older layout.
BESIDE = 1.4
# Of that, where the process keeps what it frees: pieces of different size are not joined.
KEPT = 2.0
# Part of the free memory that may be planned with; the rest is for images, the system, and others.
PLANNED = 0.8
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
class Choice:
    """A way, why it was chosen, and the memory it is expected to take (None: not known)."""

    way: Way
    reason: str
    needed_bytes: int | None = None

    def __str__(self) -> str:
        needed = "" if self.needed_bytes is None else f", about {self.needed_bytes / 1e9:.1f} GB"
        return f"{self.way} ({self.reason}{needed})"


def is_local(network: nn.Module) -> bool:
    """True if all layers look at a neighbourhood only; False for any layer of which that is not known."""
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    return all(
        isinstance(leaf, _LOCAL) and (not isinstance(leaf, _NORMS) or leaf.track_running_stats) for leaf in leaves
    )


def choose_way(
    network: nn.Module,
    shape: Sequence[int],
    *,
    window: Sequence[int],
    precision: str,
    device: str,
    overlap: float = OVERLAP,
    free: int | None = None,
) -> Choice:
    """The fastest way for an image of `shape` (C, *space), given the `window` (voxels) that the network was trained on.

    `overlap`: of windows of the model's own size, as a share of their side: that by which it was judged. `free` bytes
    may be taken; None asks the device. Where that is not known either, windows are taken.
    """
    free = free_bytes(device) if free is None else free
    last: Choice | None = None
    for way, reason in _from_fast_to_frugal(network, shape[1:], tuple(window), overlap):
        needed = _needed(network, shape, way, precision)
        last = Choice(way, reason, needed)
        fits = free is not None and needed is not None and needed <= PLANNED * free
        if fits or (isinstance(way, Windows) and (free is None or needed is None)):
            return last
    if last is None:
        raise ValueError("no way to choose from")
    return Choice(last.way, f"{last.reason}; memory is short", last.needed_bytes)


def _from_fast_to_frugal(
    network: nn.Module, space: Sequence[int], window: tuple[int, ...], overlap: float
) -> Iterator[tuple[Way, str]]:
    axes = int(getattr(network, "axes", len(space)))
    multiple = int(getattr(network, "multiple", 1))
    window = window[:axes]
    if is_local(network):
        yield Whole(), "whole image: every voxel is computed once"
        for sides in _ever_smaller(space[:axes], window, multiple):
            yield Windows(sides, overlap=OVERLAP, batch=1), "largest windows that fit the memory"
        why = "windows of the model's own size: larger ones don't fit the memory"
    else:
        why = "windows of the model's own size: its network normalises or attends over all it sees"
    for batch in (AT_ONCE, 1):
        yield Windows(window, overlap=overlap, batch=batch), why


def _ever_smaller(space: Sequence[int], window: tuple[int, ...], multiple: int) -> Iterator[tuple[int, ...]]:
    """Sides of windows: two of them along the longest axis, then along the next, and so on down to `window`."""
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


def keep_memory_for(choice: Choice, device: str, free: int | None = None) -> bool:
    """Let this process keep what it frees, which is faster, where there is memory for it; True where it does.

    `free` bytes may be taken; None asks the device.
    """
    free = free_bytes(device) if free is None else free
    if device != "cpu" or choice.needed_bytes is None or free is None:
        return False
    return KEPT * choice.needed_bytes <= PLANNED * free and keep_freed_memory()


def _needed(network: nn.Module, shape: Sequence[int], way: Way, precision: str) -> int | None:
    """Bytes for the passes and for what is stitched together; None where the network can't be followed."""
    axes = int(getattr(network, "axes", len(shape) - 1))
    multiple = int(getattr(network, "multiple", 1))
    device = next((tensor.device.type for tensor in network.parameters()), "cpu")
    slices = math.prod(shape[1 + axes :])
    if isinstance(way, Whole):
        sides, batch = (
            tuple(math.ceil(side / multiple) * multiple for side in shape[1 : 1 + axes]),
            min(slices, AT_ONCE),
        )
    else:
        sides, batch = way.sides(axes), way.batch
    try:
        one = bytes_of_pass(network, (1, shape[0], *sides), precision)
    except Exception:  # code of others may do what can't be followed; prediction itself is not touched
        return None
    return round(BESIDE * one * (1 if device == "cpu" else batch)) + 4 * math.prod(shape) + 16 * math.prod(shape[1:])
