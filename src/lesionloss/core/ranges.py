"""What a hyperparameter may be: ranges that a signature can say in one word, checked when a loss is built."""

import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from lesionloss.core.errors import UsageError

Value = bool | int | float | None


@dataclass(frozen=True)
class Range:
    """An interval of numbers; `above` leaves out the lower end."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"> {self.low:g}" if self.above else f">= {self.low:g}"
        return f"{'above ' if self.above else ''}{self.low:g} to {self.high:g}"


Weight = Annotated[float, Range(0)]
Exponent = Annotated[float, Range(0)]
PositiveExponent = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Sharpness = Annotated[float, Range(1)]
Percent = Annotated[float, Range(0, 100, above=True)]
Order = Annotated[int, Range(1)]


@dataclass(frozen=True)
class Hyperparameter:
    """One keyword of a loss: its default, the kind of value it takes, and the interval it must lie in."""

    name: str
    default: Value
    kinds: tuple[type, ...]
    range: Range | None

    def describe(self) -> str:
        """What is allowed, in words."""
        words = {bool: "True or False", int: "a whole number", float: "a number", type(None): "None"}
        kinds = " or ".join(words[kind] for kind in self.kinds)
        return kinds if self.range is None else f"{kinds}, {self.range}"

    def check(self, value: Any, loss: str) -> None:
        """Raises UsageError if the value is of the wrong kind, not finite, or outside the range."""
        if not (self._fits_kind(value) and self._fits_range(value)):
            raise UsageError(f"{loss}: {self.name} must be {self.describe()}; got {value!r}")

    def _fits_kind(self, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return type(value) in self.kinds
        return isinstance(value, int) or (isinstance(value, float) and float in self.kinds)

    def _fits_range(self, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return True
        if bool in self.kinds and len(self.kinds) == 1:
            return False
        return math.isfinite(value) and (self.range is None or value in self.range)


def hyperparameter(name: str, annotation: Any, default: Value) -> Hyperparameter:
    """Read an annotation such as `Share`, `float` or `Share | None`; without one, the default tells the kind."""
    parts = _parts(annotation)
    kinds = tuple(dict.fromkeys(part for part in parts if isinstance(part, type)))
    interval = next((part for part in parts if isinstance(part, Range)), None)
    known = tuple(kind for kind in kinds if kind in (bool, int, float, type(None)))
    return Hyperparameter(name, default, known or (type(default),), interval)


def _parts(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *notes = typing.get_args(annotation)
        return _parts(inner) + notes
    if origin in (typing.Union, types.UnionType):
        return [part for option in typing.get_args(annotation) for part in _parts(option)]
    return [annotation]
