"""Numbers of the page, each with its path in report.json."""

import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from lesionloss.core.number_text import number, probability


@dataclass(frozen=True)
class NumberText:
    """The text of a number and the path of its value in report.json: keys and indices, joined by dots."""

    text: str
    path: str

    def __html__(self) -> Markup:
        """The text, with its path in the attribute `data-n`."""
        return Markup('<span data-n="{}">{}</span>').format(self.path, self.text) if self.path else escape(self.text)

    def __str__(self) -> str:
        """The text alone."""
        return self.text


def breakable(name: str) -> Markup:
    """A name that may break between the words of a loss specification, not inside them."""
    return Markup(re.sub(r"([_(*=,/])(?=\w)", r"\1<wbr>", str(escape(name))))


def tied(sentence: str) -> str:
    """A sentence whose `p = .031` and `5 %` stay on one line."""
    return re.sub(r"(\d) %", "\\1\u00a0%", re.sub(r"\bp ([=<]) \.", "p\u00a0\\1\u00a0.", sentence))


def look_up(record: Any, path: str) -> Any:
    """The value at a path of report.json."""
    for step in path.split("."):
        record = record[int(step)] if isinstance(record, list) else record[step]
    return record


def number_text(value: float | None, path: str, decimals: int = 3, *, sign: bool = False) -> NumberText:
    """A number with its path; a dash for None."""
    return NumberText(number(value, decimals, sign=sign), path)


def count_text(value: int, path: str) -> NumberText:
    """A whole number with its path."""
    return NumberText(str(value), path)


def part_of(some: int, every: int, path: str, some_key: str, every_key: str) -> Markup:
    """`3 of 12`, each number with its path."""
    return Markup("{} of {}").format(count_text(some, f"{path}.{some_key}"), count_text(every, f"{path}.{every_key}"))


def p_value(p: float | None, path: str) -> NumberText:
    """`p = .031` with its path; `p < .001` is not the number itself and has none."""
    return NumberText(probability(p), path if p is not None and p >= 0.001 else "")


def bounds(low_high: Any, path: str, decimals: int, *, sign: bool = False) -> Markup:
    """`[.58, .64]` with both paths; empty where there is no interval."""
    if low_high is None:
        return Markup("")
    low = number_text(low_high.low, f"{path}.low", decimals, sign=sign)
    high = number_text(low_high.high, f"{path}.high", decimals, sign=sign)
    return Markup("[{}, {}]").format(low, high)
