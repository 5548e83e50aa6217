"""Ranges of numbers, and names for the usual ones: what an annotation says of a hyperparameter, option or setting."""

import math
import sys
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """An interval of finite numbers; `above` and `below` leave out its lower and its upper end."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number lies in the interval; NaN and infinity never do."""
        low_fits = self.low < value if self.above else self.low <= value
        high_fits = value < self.high if self.below else value <= self.high
        return abs(value) <= sys.float_info.max and low_fits and high_fits

    def __str__(self) -> str:
        """`>= 0`, `> 0 and <= 100`, `from 0 to 1`: as it follows "a number"."""
        if not (self.above or self.below) and math.isfinite(self.high):
            return f"from {self.low:g} to {self.high:g}"
        low = f"{'>' if self.above else '>='} {self.low:g}"
        return low if self.high == math.inf else f"{low} and {'<' if self.below else '<='} {self.high:g}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """The same range for a field of a pydantic model (pydantic calls this; it is not needed here)."""
        schema = handler(source)
        schema["gt" if self.above else "ge"] = self.low
        if math.isfinite(self.high):
            schema["lt" if self.below else "le"] = self.high
        if schema["type"] == "float":
            schema["allow_inf_nan"] = False
        return schema


@dataclass(frozen=True)
class Choice:
    """A few numbers, one of which must be chosen."""

    values: tuple[int, ...]

    def __contains__(self, value: float) -> bool:
        """Whether a number is one of them."""
        return value in self.values

    def __str__(self) -> str:
        """`6, 18 or 26`."""
        *first, last = map(str, self.values)
        return f"{', '.join(first)} or {last}"


Weight = Annotated[float, Range(0)]
Exponent = Annotated[float, Range(0)]
PositiveExponent = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Sharpness = Annotated[float, Range(0.5)]
Percent = Annotated[float, Range(0, 100, above=True)]
Natural = Annotated[int, Range(0)]
Positive = Annotated[int, Range(1)]
