"""The types of arguments compared with their annotations, for functions that users call: one line, no traceback."""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

from lesionloss.core.errors import UsageError, shown

P = ParamSpec("P")
T = TypeVar("T")


def with_checked_types(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function raise UsageError for an argument of another type than it is annotated with."""
    signature = inspect.signature(function)
    hints = functools.cache(lambda: typing.get_type_hints(function))

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _check(name, value, hints()[name])
        return function(*args, **kwargs)

    return checked


def check_field_types(record: Any) -> None:
    """Compare the values of a dataclass with their annotations.

    Raises:
        UsageError: One has another type.
    """
    for name, hint in typing.get_type_hints(type(record)).items():
        _check(f"{type(record).__name__}: {name}", getattr(record, name), hint)


def _check(name: str, value: object, hint: Any) -> None:
    if not _fits(value, hint):
        wanted = hint.__name__ if isinstance(hint, type) else str(hint)
        wanted = wanted.replace("collections.abc.", "").replace("typing.", "")
        raise UsageError(f"{name}: expected {wanted[:80]}, got {type(value).__name__} {shown(value)}")


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if hint is float:
        return isinstance(value, Real) and not (isinstance(value, Integral) and abs(int(value)) > sys.float_info.max)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if hint is None or hint is type(None):
        return value is None
    if origin is Callable:
        return callable(value)
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(each, inner[0]) for each in value)
    if origin is Sequence:
        return _is_sequence(value) and all(_fits(each, inner[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, inner[1]) for each in value.values())
    return isinstance(value, origin or hint)


def _is_sequence(value: object) -> bool:
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or (
        isinstance(value, np.ndarray) and value.ndim == 1
    )
