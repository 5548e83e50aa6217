"""Initial weights, drawn from a generator alone."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

PRIOR = 0.01  # lesion probability of every voxel in an untrained network
_CONVOLUTIONS = nn.Conv3d | nn.ConvTranspose3d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear
_NORMS = nn.GroupNorm | nn.BatchNorm3d | nn.BatchNorm2d | nn.InstanceNorm3d | nn.InstanceNorm2d


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter: He-normal convolutions, zero biases, unit norms; draws come from `generator` only."""
    _fill(network, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator))


def initialise_xavier(network: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter: Xavier-uniform convolutions, zero biases, unit norms; draws come from `generator` only."""
    _fill(network, lambda weight: nn.init.xavier_uniform_(weight, generator=generator))


def _fill(network: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, _NORMS):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise RuntimeError(f"no rule to initialise a {type(module).__name__} from a generator")


def expect_few_lesions(head: nn.Module) -> None:
    """Set a last layer's biases so that an untrained network gives every voxel a lesion probability near `PRIOR`.

    Without it, the first hundred steps of cross-entropy only learn that lesions are rare (Lin 2017, section 4.1).
    Every loss starts from the same biases.
    """
    bias = head.bias
    if not isinstance(bias, Tensor):
        raise RuntimeError("the last layer of a network needs a bias")
    lesions = max(1, len(bias) - 1)
    with torch.no_grad():
        bias.fill_(math.log(PRIOR / (1 - PRIOR) / lesions))
        if len(bias) > 1:
            bias[0] = 0
