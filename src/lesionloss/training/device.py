"""Where to compute."""

import re

import torch

from lesionloss.errors import UsageError


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
