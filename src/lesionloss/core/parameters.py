"""Parameters: what a keyword of a loss, metric, optimiser or augmentation may be, read from its annotation."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.ranges import Choice, Range

Value = bool | int | float | None

_WORDS: dict[type, str] = {bool: "True or False", int: "a whole number", float: "a number", type(None): "None"}


@dataclass(frozen=True)
class Parameter:
    """One keyword: its default, the types that it takes, and the numbers that are allowed."""

    name: str
    default: Value
    kinds: tuple[type, ...]
    allowed: Range | Choice | None = None

    def describe(self) -> str:
        """What is allowed, in words: `a number from 0 to 1 or None`."""
        kinds = [_WORDS[kind] for kind in self.kinds]
        if isinstance(self.allowed, Choice):
            kinds = [str(self.allowed), *kinds[1:]]
        elif self.allowed is not None:
            kinds[0] += f" {self.allowed}"
        return " or ".join(kinds)

    def check(self, value: object, owner: str) -> None:
        """Compare a value with the types and the range.

        Raises:
            UsageError: if it does not fit, with what is allowed; the message begins with `owner`.
        """
        if not self._fits(value):
            raise UsageError(f"{owner}: {self.name} must be {self.describe()}; got {value!r}")

    def _fits(self, value: object) -> bool:
        if value is None or isinstance(value, bool):
            return type(value) in self.kinds
        if not isinstance(value, int) and not (isinstance(value, float) and float in self.kinds):
            return False
        numeric = int in self.kinds or float in self.kinds
        return numeric and value in (self.allowed or Range(-float("inf")))


def parameter(name: str, annotation: Any, default: Value) -> Parameter:
    """The parameter that an annotation such as `Share`, `float` or `Share | None` describes.

    Without an annotation, the type of the default decides.
    """
    parts = _parts(annotation)
    kinds = [part for part in parts if isinstance(part, type) and part in _WORDS] or [type(default)]
    kinds.sort(key=lambda kind: kind is type(None))
    allowed = next((part for part in parts if isinstance(part, Range | Choice)), None)
    return Parameter(name, default, tuple(dict.fromkeys(kinds)), allowed)


def _parts(annotation: Any) -> list[Any]:
    """Types and ranges of an annotation, whatever it nests."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *notes = typing.get_args(annotation)
        return _parts(inner) + notes
    if origin in (typing.Union, types.UnionType):
        return [part for option in typing.get_args(annotation) for part in _parts(option)]
    return [annotation]


def check_keywords(given: Mapping[str, object], known: Mapping[str, Parameter | None], owner: str, noun: str) -> None:
    """Compare the keywords of a call with the parameters that its function has.

    Args:
        given: keywords and values of the call.
        known: the parameters by name; None for one that is checked elsewhere.
        owner: whose parameters they are, such as "loss tversky"; messages begin with it.
        noun: what they are called: "hyperparameter", "option", "setting".

    Raises:
        UsageError: for an unknown keyword, with the nearest known one, and for a value that is not allowed.
    """
    for key, value in given.items():
        if not known:
            raise UsageError(f"{owner} has no {noun}s; got {key}={value!r}")
        if key not in known:
            raise UsageError(f"{owner} has no {noun} {key!r}; {nearest(key, list(known))}")
        record = known[key]
        if record is not None:
            record.check(value, owner)
