"""What torch's default device must not change."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

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
