"""Does the loss reach the network? Shares of parameters and of lesion voxels whose gradient is exactly zero."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

WARN_ABOVE = 0.2


@dataclass(frozen=True)
class GradientHealth:
    """Shares in [0, 1]; `lesion_voxels` is NaN where the batch holds no lesion."""

    tensors: float
    lesion_voxels: float

    @property
    def poor(self) -> bool:
        return self.tensors > WARN_ABOVE or self.lesion_voxels > WARN_ABOVE


def gradient_health(network: nn.Module, logits: Tensor, references: Tensor) -> GradientHealth:
    """Health after a backward pass. `logits` (B, 1, *space) with its gradient retained; `references` (B, *space)."""
    dead = [parameter.grad is None or not bool(parameter.grad.any()) for parameter in network.parameters()]
    lesion = references.bool()
    gradient = logits.grad
    if gradient is None:
        share = 1.0
    elif not bool(lesion.any()):
        share = float("nan")
    else:
        share = float((gradient[:, 0][lesion] == 0).to(torch.float32).mean())
    return GradientHealth(sum(dead) / max(1, len(dead)), share)
