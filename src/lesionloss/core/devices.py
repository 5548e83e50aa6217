"""Where to compute, and what torch's default device must not change."""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from lesionloss.core.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def without_default_device(function: Callable[P, R]) -> Callable[P, R]:
    """The function, for which the default device is the CPU whatever the caller's is; what it needs elsewhere it names.

    Generators lie on the CPU, and small tensors that are made on the way must lie beside them.
    """

    @functools.wraps(function)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return within


def resolve_device(name: str) -> str:
    """`cpu` or `cuda:N`; `auto` takes the first GPU where there is one. Raises UsageError for one that is not there."""
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    found = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not found:
        raise UsageError(f"--device must be auto, cpu or cuda:N, got {name!r}")
    number = int(found.group(1) or 0)
    if number >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that torch can use")
    return f"cuda:{number}"
