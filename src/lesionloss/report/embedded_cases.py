"""Which cases are embedded whole, for the viewer; all others are pictures."""

from collections.abc import Sequence

import numpy as np

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

DEFAULT = "worst,median,best"
_ALL, _NONE = "all", "none"


def embedded(ordered: Sequence[str], cases: Sequence[str], wanted: str | int) -> tuple[str, ...]:
    """The chosen of `cases`, in the order from the worst to the best (`ordered`; cases without a value come last).

    `wanted`: a number (so many, evenly from the worst to the best), or words with commas between them: `worst`,
    `median`, `best`, `all`, `none`, numbers, names of cases. Where a case has such a name, the case is meant. Raises
    UsageError for anything else.
    """
    every = [*ordered, *(case for case in cases if case not in set(ordered))]
    words = [word.strip() for word in str(wanted).split(",")] if str(wanted) not in every else [str(wanted)]
    chosen = {case for word in words if word for case in _named(word, ordered, every)}
    return tuple(case for case in every if case in chosen)


def _named(word: str, ordered: Sequence[str], every: Sequence[str]) -> Sequence[str]:
    if word in every:
        return (word,)
    if word.isascii() and word.isdigit():
        return evenly(ordered, int(word))
    places = {"worst": 0, "median": (len(ordered) - 1) // 2, "best": len(ordered) - 1}
    if word in places:
        return (ordered[places[word]],) if ordered else ()
    if word == _ALL:
        return every
    if word == _NONE:
        return ()
    known = [*places, _ALL, _NONE, *every]
    raise UsageError(
        f"--volumes: expected worst, median, best, all, none, a number or a case, got {word!r}; {nearest(word, known)}"
    )


def evenly(ordered: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names from the first to the last: three are the worst, the median and the best."""
    if count <= 0 or not ordered:
        return ()
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return tuple(dict.fromkeys(ordered[int(place)] for place in places))
