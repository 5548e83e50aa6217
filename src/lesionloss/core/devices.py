"""Devices by name, copies to them, and functions whose results do not depend on torch's default device."""

import functools
import os
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

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
    device = check_device(name)
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and int(device.removeprefix("cuda:")) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that torch can use")
    return device


def check_device(name: str) -> str:
    """`auto`, `cpu` or `cuda:N`, whether this machine has it or not.

    Raises:
        UsageError: for another name.
    """
    if name in ("auto", "cpu"):
        return name
    found = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not found:
        raise UsageError(f"--device must be auto, cpu or cuda:N, got {name!r}")
    return f"cuda:{int(found.group(1) or 0)}"


def all_devices() -> tuple[str, ...]:
    """Every GPU of this machine, or its processor."""
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) or ("cpu",)


def see_one_device(device: str) -> str:
    """Hide all GPUs but one from this process, which must not have used any; return its name from then on."""
    if device == "cpu":
        return device
    number, visible = int(device.removeprefix("cuda:")), os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)
    return "cuda:0"


def to_device(tensor: Tensor, device: str | torch.device) -> Tensor:
    """The tensor on the device; to a GPU it is copied from pinned memory, and nothing waits for the copy."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
