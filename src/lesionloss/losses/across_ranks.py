"""Sums over the processes of a training run (DistributedDataParallel), for pooled batches."""

from typing import Any

import torch
from torch import Tensor, distributed


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad)


def in_several_processes() -> bool:
    """Whether this process is one of several of a training run, and records gradients."""
    started = distributed.is_available() and distributed.is_initialized()
    return started and distributed.get_world_size() > 1 and torch.is_grad_enabled()


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of x over all processes.

    Its gradient is summed over them too, and DistributedDataParallel divides by their number: so the gradient of a
    pooled loss is that of one process that has the whole batch.
    """
    total: Tensor = _SumOverRanks.apply(x)  # type: ignore[no-untyped-call]
    return total
