"""How a GPU computes: the only place that sets it, and what machine.json says of it."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from lesionloss.training.step_modes import EAGER

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextlib.contextmanager
def set_arithmetic(device: str, deterministic: bool) -> Iterator[None]:
    """Set how torch computes inside the block; on a CPU nothing changes unless it must be deterministic.

    On a GPU convolutions may round to TF32 and choose the fastest algorithm for their shapes. Matrix products keep
    float32, because losses use them. Deterministic: neither of these, a workspace with which cuBLAS repeats its sums,
    and only algorithms that repeat them; torch names an operation that has none. So two equal training runs give equal
    bits on one machine.

    Args:
        device: cpu or cuda:N.
        deterministic: Whether all bits must repeat.
    """
    flags, repeated = _flags(), torch.are_deterministic_algorithms_enabled()
    if deterministic:
        os.environ.setdefault(WORKSPACE, ":4096:8")  # read when cuBLAS is first used
        torch.use_deterministic_algorithms(True)
    if deterministic or device != "cpu":
        _set_flags(tf32=not deterministic, benchmark=not deterministic)
    try:
        yield
    finally:
        _set_flags(*flags)
        torch.use_deterministic_algorithms(repeated)


def _flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark


def _set_flags(tf32: bool, benchmark: bool) -> None:
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = benchmark


def arithmetic_record(device: str, step_mode: str = EAGER) -> dict[str, Any]:
    """Return what is set, for machine.json: whether all bits repeat, how steps run and, on a GPU, how it computes."""
    record: dict[str, Any] = {"deterministic": torch.are_deterministic_algorithms_enabled(), "step": step_mode}
    if device != "cpu":
        tf32, benchmark = _flags()
        record |= {"tf32_convolutions": tf32, "cudnn_benchmark": benchmark, "fused_optimiser": True}
    return record
