"""Catalogues: records by name, each registered once: losses, metrics, layouts, networks."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from lesionloss.core.errors import UsageError

T = TypeVar("T")


def nearest(name: str, known: list[str]) -> str:
    """The hint behind an unknown name: the nearest known name, then all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def defined_again(function: Callable[..., Any], before: Callable[..., Any]) -> bool:
    """Whether a function takes the place of one of a user's: its notebook cell was run or its module loaded again."""
    place = (function.__module__, function.__qualname__)
    return place == (before.__module__, before.__qualname__) and not place[0].startswith("lesionloss")


class Catalogue(Generic[T]):
    """A mapping from names to records; a name can't be registered twice, and errors name the nearest known one."""

    def __init__(self, noun: str) -> None:
        """An empty catalogue; messages call its records by `noun`, such as "loss"."""
        self.noun = noun
        self._records: dict[str, T] = {}

    def add(self, name: str, record: T, *, again: bool = False) -> None:
        """Register a record; `again`: it may replace one of its name.

        Raises:
            UsageError: if the name is taken.
        """
        if name in self._records and not again:
            raise UsageError(f"a {self.noun} named {name!r} exists already; choose another name")
        self._records[name] = record

    def remove(self, name: str) -> None:
        """Remove a record (for notebooks that define one again, and for tests)."""
        del self._records[name]

    def get(self, name: str) -> T:
        """The record of a name.

        Raises:
            UsageError: if there is none, with the nearest known name.
        """
        if name not in self._records:
            raise UsageError(f"no {self.noun} is named {name!r}; {nearest(name, self.names())}")
        return self._records[name]

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._records)

    def __contains__(self, name: object) -> bool:
        """Whether a name is registered."""
        return name in self._records

    def __iter__(self) -> Iterator[T]:
        """The records, in the order of registration."""
        return iter(self._records.values())

    def __len__(self) -> int:
        """The number of records."""
        return len(self._records)
