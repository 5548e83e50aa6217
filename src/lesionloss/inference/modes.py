"""How a network is led over an image: in windows or at once, written as text.

`whole`, `windows(size=80, overlap=0.5)`, `windows(size=80, stride=20, gaussian=False)`, or a paper's way by its name.
"""

from dataclasses import dataclass, fields
from typing import Any

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

AT_ONCE = 4
_HALF_VOXEL = 0.5  # keeps a stride written as a share of the window on the right side of rounding


@dataclass(frozen=True)
class Windows:
    """Windows of `size` voxels, `stride` voxels apart or, where that is empty, overlapping by a share of their side.

    One number in `size` or `stride` stands for all axes. `gaussian`: voxels near a window's middle count more.
    `of_probabilities`: probabilities are averaged instead of logits. `batch` windows run at once.
    """

    size: tuple[int, ...]
    overlap: float = 0.5
    stride: tuple[int, ...] = ()
    gaussian: bool = True
    of_probabilities: bool = False
    batch: int = AT_ONCE

    def __post_init__(self) -> None:
        for key, sides in (("size", self.size), ("stride", self.stride)):
            if any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
                raise UsageError(f"windows: {key} must be whole numbers of voxels, 1 or more, got {sides!r}")
        if not self.size:
            raise UsageError("windows: size is missing, e.g. windows(size=80)")
        if not 0 <= self.overlap < 1:
            raise UsageError(f"windows: overlap is a share of the window's side, 0 to below 1, got {self.overlap!r}")
        if isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1:
            raise UsageError(f"windows: batch must be a whole number, 1 or more, got {self.batch!r}")

    def sides(self, axes: int) -> tuple[int, ...]:
        """Voxels of a window along each axis. Raises UsageError for a size with other axes."""
        return _for_axes(self.size, axes, "size")

    def overlaps(self, axes: int) -> tuple[float, ...]:
        """Overlap along each axis, as a share of the window's side. Raises UsageError for a stride over the side."""
        if not self.stride:
            return (self.overlap,) * axes
        pairs = list(zip(_for_axes(self.stride, axes, "stride"), self.sides(axes), strict=True))
        if any(step > side for step, side in pairs):
            raise UsageError(
                f"windows: stride {self.stride} leaves gaps between windows of {self.size}; make it smaller"
            )
        return tuple(max(0.0, 1 - (step + _HALF_VOXEL) / side) for step, side in pairs)

    def __str__(self) -> str:
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        kept = {key: value for key, value in plain.items() if value != defaults[key]}
        return format_call("windows", {key: _shortest(value) for key, value in kept.items()})


@dataclass(frozen=True)
class Whole:
    """The whole image at once, padded with zeros to what the network needs."""

    def __str__(self) -> str:
        return "whole"


Way = Windows | Whole

# CoactSeg's and HyTver's test script; the framework of Cabezas & Diez. Both average probabilities, all voxels alike.
PAPERS: dict[str, Way] = {
    "coactseg": Windows((80,), stride=(20,), gaussian=False, of_probabilities=True, batch=1),
    "cabezas": Windows((32,), stride=(16,), gaussian=False, of_probabilities=True),
}


def read_way(text: str) -> Way:
    """`whole`, `windows(...)` with the fields of `Windows`, `coactseg` or `cabezas`. Raises UsageError."""
    name, values = parse_call(text, "way")
    if name == "windows":
        return _windows(values)
    known: dict[str, Way] = {"whole": Whole(), **PAPERS}
    if name not in known:
        raise UsageError(f"no way of prediction is named {name!r}; {nearest(name, ['windows', *known])}")
    if values:
        raise UsageError(f"way {name!r} takes no settings; write windows(size=..., overlap=...) to choose them")
    return known[name]


def _windows(values: dict[str, Any]) -> Windows:
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
            raise UsageError(f"windows has no setting {key!r}; {nearest(key, list(kinds))}")
        if not isinstance(value, kinds[key]) or (isinstance(value, bool) and bool not in kinds[key]):
            raise UsageError(f"windows: {key} is a {kinds[key][0].__name__}, got {value!r}")
    if "stride" in values and "overlap" in values:
        raise UsageError("windows: give stride or overlap, not both")
    sides = {key: _tuple(values[key]) for key in ("size", "stride") if key in values}
    return Windows(**({"size": ()} | values | sides))


def _tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _shortest(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _for_axes(sides: tuple[int, ...], axes: int, key: str) -> tuple[int, ...]:
    if len(sides) == 1:
        return sides * axes
    if len(sides) != axes:
        raise UsageError(f"windows: {key} {sides} has {len(sides)} numbers, the image {axes} axes; give 1 or {axes}")
    return sides
