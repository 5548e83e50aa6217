"""Which cases go into the viewer and the figures of the page; the others are shown as small pictures only."""

from collections.abc import Sequence

import numpy as np

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

DEFAULT = "worst,median,best"
_ALL, _NONE = "all", "none"


def embedded(ordered: Sequence[str], cases: Sequence[str], chosen: str | int) -> tuple[str, ...]:
    """The chosen cases, from the worst to the best; cases without a value come last.

    Args:
        ordered: Cases with a value, from the worst to the best.
        cases: All cases.
        chosen: A number of cases (spread evenly from the worst to the best), or words with commas between them:
            `worst`, `median`, `best`, `all`, `none`, numbers, names of cases. A case of such a name comes first.

    Raises:
        UsageError: A word is none of these.
    """
    every = [*ordered, *(case for case in cases if case not in set(ordered))]
    words = [word.strip() for word in str(chosen).split(",")] if str(chosen) not in every else [str(chosen)]
    names = {case for word in words if word for case in _named(word, ordered, every)}
    return tuple(case for case in every if case in names)


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


def pictured(ordered: Sequence[str]) -> dict[str, str]:
    """The cases of the figures: worst, median and best case (of an even number the worse of the two in the middle).

    Of two cases the first is the median. `ordered`: cases with a value, from the worst to the best.
    """
    cases = evenly(ordered, 3)
    roles = {1: ("median",), 2: ("median", "best")}.get(len(cases), ("worst", "median", "best"))
    return dict(zip(roles, cases, strict=False))


def evenly(ordered: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` names from the first to the last: three are the worst, the median and the best."""
    if count <= 0 or not ordered:
        return ()
    places = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return tuple(dict.fromkeys(ordered[int(place)] for place in places))
