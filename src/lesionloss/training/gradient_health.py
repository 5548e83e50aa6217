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
    """Health after a backward pass. `logits` (B, C, *space) with its gradient retained; `references` (B, *space)."""
    tensors, lesion_voxels = health_tensor(network, logits, references).tolist()
    return GradientHealth(tensors, lesion_voxels)


def health_tensor(network: nn.Module, logits: Tensor, references: Tensor) -> Tensor:
    """The two shares of `GradientHealth`, (2,) float64 on the device of `logits`, without waiting for it.

    Parameters that take no gradient (frozen ones) are not counted.
    """
    device = logits.device
    dead = [
        torch.ones((), dtype=torch.bool, device=device) if parameter.grad is None else ~parameter.grad.any()
        for parameter in network.parameters()
        if parameter.requires_grad
    ]
    tensors = torch.stack(dead).double().mean() if dead else torch.zeros((), dtype=torch.float64, device=device)
    if logits.grad is None:
        return torch.stack([tensors, torch.ones_like(tensors)])
    lesion = references != 0
    silent = lesion & (logits.grad == 0).all(1)
    return torch.stack([tensors, (silent.sum().float() / lesion.sum().float()).double()])
