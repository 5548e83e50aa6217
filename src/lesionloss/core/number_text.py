"""Numbers and lists in the style of papers: .612, 12.4, 1 patient, a, b and c."""

from collections.abc import Iterable
from typing import Protocol

NOTHING = "–"
MINUS = "−"
_DECIMALS = ((0.002, 5), (0.02, 4), (1.0, 3), (10.0, 2), (1000.0, 1))


class Bounds(Protocol):
    """An interval."""

    @property
    def low(self) -> float:
        """The lower end."""

    @property
    def high(self) -> float:
        """The upper end."""


def decimals_for(values: Iterable[float | None]) -> int:
    """The number of decimals for a column of numbers, by the size of the largest."""
    largest = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    return next((decimals for limit, decimals in _DECIMALS if largest <= limit), 0)


def number(value: float | None, decimals: int = 3, *, sign: bool = False) -> str:
    """`.612`, `−.030`, `1.000`, `12.4`; a dash for None. With `sign`, positive numbers have a plus."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{decimals}f}"
    if text.startswith("0.") and decimals > 1:
        text = text[1:]
    if not text.strip(".0"):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def interval(bounds: "Bounds | None", decimals: int = 3, *, sign: bool = False) -> str:
    """`[.58, .64]`; empty for None."""
    if bounds is None:
        return ""
    return f"[{number(bounds.low, decimals, sign=sign)}, {number(bounds.high, decimals, sign=sign)}]"


def probability(p: float | None) -> str:
    """`p = .031`, `p < .001`; `no test` for None."""
    if p is None:
        return "no test"
    return "p < .001" if p < 0.001 else f"p = {number(p)}"


def plural(count: int, noun: str) -> str:
    """`1 patient`, `2 patients`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1] + 'ies' if noun.endswith('y') else noun + ('es' if noun.endswith('s') else 's')}"


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *rest, last = list(words)
    return f"{', '.join(rest)} and {last}" if rest else last


def quoted(name: str) -> str:
    """A name for use in a sentence: in quotes if it contains blanks."""
    return f"“{name}”" if " " in name else name


def unit_text(unit: str) -> str:
    """`mm³` for `mm3`."""
    return unit.replace("mm3", "mm³").replace("mm2", "mm²")


def percent(share: float | None) -> str:
    """`41 %`; `< 1 %` and `> 99 %` where rounding would give 0 or 100 %; a dash for None."""
    if share is None:
        return NOTHING
    if 0 < share < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"
