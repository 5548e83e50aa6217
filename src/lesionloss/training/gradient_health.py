"""The shares of parameters and of lesion voxels whose gradient is exactly zero."""

import torch
from torch import Tensor, nn

WARN_ABOVE = 0.2


def gradient_health(network: nn.Module, logits: Tensor, references: Tensor) -> Tensor:
    """Measure where a backward pass left no gradient, without waiting for the device.

    Args:
        network: Its parameters hold their gradients; frozen parameters are not counted.
        logits: (B, C, *space) with its gradient retained.
        references: (B, *space), lesion where not 0.

    Returns:
        (2,) float64 on the device of `logits`: the share of parameter tensors and the share of lesion voxels whose
        gradient is zero, each in [0, 1]; the second is NaN where the batch has no lesion.
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
