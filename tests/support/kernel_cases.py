"""Random batches for the kernels, and whether two results agree."""

from dataclasses import dataclass

import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.randomness import numpy_generator
from lesionloss.losses.kernels import Kernel
from random_batches import random_batch

OPTIONS: list[dict[str, bool | str]] = [
    {},
    {"pooled": True},
    {"average_background": True},
    {"empty": "skip"},
    {"average_background": True, "empty": "skip"},
    {"pooled": True, "average_background": True},
]


@dataclass(frozen=True)
class Case:
    logits: Tensor
    labels: Tensor
    valid: Tensor | None
    options: dict[str, bool | str | int]


def case(*name: str | int, channels: int) -> Case:
    batch = random_batch("kernels", *name, channels=channels)
    stream = numpy_generator("kernels", "options", *name)
    options = OPTIONS[int(stream.integers(len(OPTIONS)))]
    logits, labels = torch.from_numpy(batch.logits), torch.from_numpy(batch.labels)
    valid = None if batch.valid is None else torch.from_numpy(batch.valid)
    kind = torch.uint8 if stream.random() < 0.5 else torch.int64
    if valid is not None:
        logits = torch.where(valid[:, None], logits, torch.nan)
        labels = torch.where(valid, labels, 99)
    return Case(logits, labels.to(kind), valid, options)


def result(text: str, kernel: Kernel | None, of: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The values per image and the gradient of a weighted sum of them."""
    logits = of.logits.to(dtype).requires_grad_()
    each = ll.build(text, kernel=kernel, **of.options)(logits, of.labels, valid=of.valid, reduce=False)
    weights = torch.linspace(0.5, 2, len(each), dtype=dtype)
    (gradient,) = torch.autograd.grad((weights * each).sum(), logits)
    return each.detach(), gradient


def agree(fast: Tensor, slow: Tensor, tolerance: float, rounding: float = 0.0) -> None:
    """Within a share of the largest, for single numbers may come out of cancellation, or within some rounding."""
    assert torch.isfinite(fast).all()
    error = float((fast.double() - slow).abs().max())
    assert error <= tolerance * float(slow.abs().max()) + tolerance * 1e-5 + rounding
