"""Initial weights, drawn from a generator alone."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError

# lesion_prior: the network's own rule, and last biases for a low lesion probability; torch: the defaults of PyTorch's
# layers, which most published code has; xavier: Xavier-uniform, biases 0, as Keras starts.
INITIAL = ("lesion_prior", "torch", "xavier")
PRIOR = 0.01  # lesion probability of every voxel in an untrained network
_CONVOLUTIONS = nn.Conv3d | nn.ConvTranspose3d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear
_NORMS = nn.GroupNorm | nn.BatchNorm3d | nn.BatchNorm2d | nn.InstanceNorm3d | nn.InstanceNorm2d


def check_initial(name: str) -> str:
    """Return the name of a rule for initial weights.

    Raises:
        UsageError: No rule has this name; the message has the nearest known one.
    """
    if name not in INITIAL:
        raise UsageError(f"no rule for initial weights is named {name!r}; {nearest(name, list(INITIAL))}")
    return name


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter: He-normal convolutions, zero biases, unit norms; draws come from `generator` only."""
    _fill(network, lambda layer: nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator))


def initialise_xavier(network: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter: Xavier-uniform convolutions, zero biases, unit norms; draws come from `generator` only."""
    _fill(network, lambda layer: nn.init.xavier_uniform_(layer.weight, generator=generator))


def initialise_torch(network: nn.Module, generator: torch.Generator) -> None:
    """Set every parameter as PyTorch's layers do by themselves; draws come from `generator` only.

    Weights and biases of convolutions are uniform within 1 / sqrt(fan in), norms are unit.
    """

    def draw(layer: Any) -> None:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    _fill(network, draw)


def _fill(network: nn.Module, draw: Callable[[Any], object]) -> None:
    """Zero the bias of each convolution and let `draw` set the rest; norms become unit."""
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            draw(module)
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
