"""The two passes of a `Walk` as Triton kernels for CUDA: logits and labels read once each way, gradient written once.

Each program sums one block of one row into a place of its own, so that sums come out the same every time.
"""

import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lesionloss.losses.kernels.columns import COLUMNS

BLOCK = 4096  # voxels of a program
FOUND = 8  # the columns that a program writes; labels are not looked at here


def installed() -> bool:
    """Whether Triton is there; it is not imported for the answer."""
    return importlib.util.find_spec("triton") is not None


@cache
def programs() -> Any:
    """The Triton kernels, or None where Triton can't be imported."""
    try:
        from lesionloss.losses.kernels import triton_walk
    except ImportError:
        return None
    return triton_walk


def ready() -> bool:
    """Whether the kernels can be used."""
    return programs() is not None


def walk_found(logits: Tensor, labels: Tensor, valid: Tensor | None, with_logs: bool) -> Tensor:
    """See `Walk.found`."""
    del with_logs  # the logarithm costs nothing beside the reading
    rows, voxels = logits.shape
    blocks = -(-voxels // BLOCK)
    parts = torch.empty((rows, blocks, FOUND), dtype=torch.float32, device=logits.device)
    inside = labels if valid is None else valid.view(torch.uint8)
    programs().sums[(blocks, rows)](
        logits, labels, inside, parts, voxels, blocks, HAS_VALID=valid is not None, FOUND=FOUND, BLOCK=BLOCK
    )
    found = torch.zeros((rows, COLUMNS), dtype=torch.float64, device=logits.device)
    found[:, :FOUND] = parts.sum(1, dtype=torch.float64)
    return found


def walk_pull(logits: Tensor, labels: Tensor, valid: Tensor | None, weights: Tensor) -> Tensor:
    """See `Walk.pull`."""
    rows, voxels = logits.shape
    out = torch.empty_like(logits)
    inside = labels if valid is None else valid.view(torch.uint8)
    programs().gradient[(-(-voxels // BLOCK), rows)](
        logits, labels, inside, weights.float().contiguous(), out, voxels,
        HAS_VALID=valid is not None, COLUMNS=COLUMNS, BLOCK=BLOCK,
    )  # fmt: skip
    return out
