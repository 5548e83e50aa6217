"""How a network is applied to an image, written as text: to the whole image at once, or in a sliding window.

`whole`, `sliding_window(size=80, overlap=0.5)`, `sliding_window(size=80, stride=20, gaussian=False)`, or the mode of a
paper by its name, `coactseg` or `cabezas`.
"""

from dataclasses import dataclass, fields
from typing import Any

from lesionloss.core.argument_types import check_field_types
from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

WINDOWS_PER_BATCH = 4
_HALF_VOXEL = 0.5  # keeps a stride written as a share of the window on the right side of rounding


@dataclass(frozen=True)
class SlidingWindow:
    """A window that slides over the image; logits are averaged where windows overlap.

    Args:
        size: Voxels of the window along each axis; one number stands for all axes.
        overlap: Of neighbouring windows, as a share of their side, from 0 to below 1.
        stride: Voxels from one window to the next along each axis, in place of `overlap`; one number for all axes.
        gaussian: Whether voxels near the middle of a window have a larger weight.
        of_probabilities: Whether probabilities are averaged instead of logits.
        batch: Windows that go through the network at once.

    Raises:
        UsageError: for values out of these ranges.
    """

    size: tuple[int, ...]
    overlap: float = 0.5
    stride: tuple[int, ...] = ()
    gaussian: bool = True
    of_probabilities: bool = False
    batch: int = WINDOWS_PER_BATCH

    def __post_init__(self) -> None:
        """Check the values."""
        check_field_types(self)
        for key, sides in (("size", self.size), ("stride", self.stride)):
            if any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
                raise UsageError(f"sliding_window: {key} must be whole numbers of voxels, 1 or more, got {sides!r}")
        if not self.size:
            raise UsageError("sliding_window: size is missing, e.g. sliding_window(size=80)")
        if not 0 <= self.overlap < 1:
            raise UsageError(
                f"sliding_window: overlap is a share of the window's side, 0 to below 1, got {self.overlap!r}"
            )
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1:
            raise UsageError(f"sliding_window: batch must be a whole number, 1 or more, got {self.batch!r}")

    def sides(self, axes: int) -> tuple[int, ...]:
        """Voxels of a window along each of so many axes.

        Raises:
            UsageError: for a size with another number of axes.
        """
        return _for_axes(self.size, axes, "size")

    def overlaps(self, axes: int) -> tuple[float, ...]:
        """Overlap along each axis, as a share of the window's side.

        Raises:
            UsageError: for a stride that is longer than the window.
        """
        if not self.stride:
            return (self.overlap,) * axes
        pairs = list(zip(_for_axes(self.stride, axes, "stride"), self.sides(axes), strict=True))
        if any(step > side for step, side in pairs):
            raise UsageError(
                f"sliding_window: stride {self.stride} leaves gaps between windows of {self.size}; make it smaller"
            )
        return tuple(max(0.0, 1 - (step + _HALF_VOXEL) / side) for step, side in pairs)

    def __str__(self) -> str:
        """The text that `read_inference_mode` reads back, without what is as by default."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        kept = {key: value for key, value in plain.items() if value != defaults[key]}
        return format_call("sliding_window", {key: _shortest(value) for key, value in kept.items()})


@dataclass(frozen=True)
class WholeImage:
    """The whole image at once, padded with zeros to a size that the network takes."""

    def __str__(self) -> str:
        """The text that `read_inference_mode` reads back."""
        return "whole"


@dataclass(frozen=True)
class Fastest:
    """The fastest mode that fits the memory; its probabilities may differ from those that the model was judged by."""

    def __str__(self) -> str:
        """The text of the command line."""
        return "fastest"


InferenceMode = SlidingWindow | WholeImage


def inference_mode_of(
    window: tuple[int, ...], overlap: float, merge: str, merge_of: str, *, whole_image: bool
) -> InferenceMode:
    """The inference mode that a recipe or the record of a model states.

    Args:
        window: Sides of the sliding window in voxels.
        overlap: Overlap of neighbouring windows as a share of their side.
        merge: `gaussian` or `mean`, the weights of overlapping windows.
        merge_of: `logits` or `probabilities`, what is averaged.
        whole_image: Whether the whole image goes through the network at once, without windows.

    Returns:
        The mode.
    """
    if whole_image:
        return WholeImage()
    return SlidingWindow(
        window, overlap=overlap, gaussian=merge == "gaussian", of_probabilities=merge_of == "probabilities"
    )


# CoactSeg's and HyTver's test script; the framework of Cabezas & Diez. Both average probabilities, all voxels alike.
PAPERS: dict[str, InferenceMode] = {
    "coactseg": SlidingWindow((80,), stride=(20,), gaussian=False, of_probabilities=True, batch=1),
    "cabezas": SlidingWindow((32,), stride=(16,), gaussian=False, of_probabilities=True),
}


def read_inference_mode(text: str) -> InferenceMode:
    """Read an inference mode: `whole`, `sliding_window(...)` with its arguments, `coactseg` or `cabezas`.

    Raises:
        UsageError: for another name, an unknown argument, or a value out of its range.
    """
    name, values = parse_call(text, "inference mode")
    if name == "sliding_window":
        return _sliding_window(values)
    known: dict[str, InferenceMode] = {"whole": WholeImage(), **PAPERS}
    if name not in known:
        raise UsageError(f"no inference mode is named {name!r}; {nearest(name, ['sliding_window', *known])}")
    if values:
        raise UsageError(
            f"inference mode {name!r} takes no settings; write sliding_window(size=..., overlap=...) to choose them"
        )
    return known[name]


def _sliding_window(values: dict[str, Any]) -> SlidingWindow:
    kinds: dict[str, tuple[type, ...]] = {
        "size": (int, tuple, list),
        "overlap": (int, float),
        "stride": (int, tuple, list),
        "gaussian": (bool,),
        "of_probabilities": (bool,),
        "batch": (int,),
    }
    for key, value in values.items():
        if key not in kinds:
            raise UsageError(f"sliding_window has no setting {key!r}; {nearest(key, list(kinds))}")
        if not isinstance(value, kinds[key]) or (isinstance(value, bool) and bool not in kinds[key]):
            raise UsageError(f"sliding_window: {key} is a {kinds[key][0].__name__}, got {value!r}")
    if "stride" in values and "overlap" in values:
        raise UsageError("sliding_window: give stride or overlap, not both")
    sides = {key: _tuple(values[key]) for key in ("size", "stride") if key in values}
    return SlidingWindow(**({"size": ()} | values | sides))


def _tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _shortest(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _for_axes(sides: tuple[int, ...], axes: int, key: str) -> tuple[int, ...]:
    if len(sides) == 1:
        return sides * axes
    if len(sides) != axes:
        raise UsageError(
            f"sliding_window: {key} {sides} has {len(sides)} numbers, the image {axes} axes; give 1 or {axes}"
        )
    return sides
