"""Devices by name, and functions whose results do not depend on torch's default device."""

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from lesionloss.core.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def without_default_device(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that the default device inside it is the CPU, whatever that of the caller is.

    Random generators are on the CPU, and small tensors that the function creates must be there too.
    """

    @functools.wraps(function)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return within


def resolve_device(name: str) -> str:
    """`cpu` or `cuda:N`; `auto` is the first GPU if there is one.

    Raises:
        UsageError: for another name, or a GPU that this machine does not have.
    """
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
