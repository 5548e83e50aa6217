"""The hyperparameters of a loss, as the signature of its function declares them."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from lesionloss.core.errors import UsageError
from lesionloss.core.parameters import Parameter, parameter


def keywords_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a loss function behind its first one, the voxels."""
    return list(inspect.signature(function).parameters.values())[1:]


def read_hyperparameters(name: str, function: Callable[..., Any]) -> dict[str, Parameter]:
    """The hyperparameters of the loss `name`, from the signature of its function.

    Raises:
        UsageError: for a hyperparameter that is not keyword-only, has no default, or has one that is not allowed.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    found = {}
    for keyword in keywords_of(function):
        if keyword.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise UsageError(f"loss {name!r}: write its hyperparameters behind a star: f(v, *, {keyword} = ...)")
        if keyword.default is inspect.Parameter.empty:
            raise UsageError(f"loss {name!r}: hyperparameter {keyword.name!r} has no default")
        if not isinstance(keyword.default, bool | int | float | None):
            raise UsageError(f"loss {name!r}: hyperparameter {keyword.name!r} must be a number, True, False or None")
        record = parameter(keyword.name, hints.get(keyword.name), keyword.default)
        record.check(keyword.default, f"loss {name!r}, default")
        found[keyword.name] = record
    return found
