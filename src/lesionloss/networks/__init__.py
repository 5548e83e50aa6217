"""Networks by name: `build_network("unet3d(filters=8)", generator)` gives the same weights for the same generator."""

import inspect
import math
from collections.abc import Callable

import torch
from torch import nn

from lesionloss.calltext import format_call, parse_call
from lesionloss.catalogue import Catalogue, nearest
from lesionloss.errors import UsageError
from lesionloss.networks.blocks import ChannelDropout
from lesionloss.networks.unet3d import UNet3d
from lesionloss.networks.vnet import VNet

PRIOR = 0.01  # probability of a lesion that an untrained network gives every voxel

NETWORKS: Catalogue[Callable[..., nn.Module]] = Catalogue("network")
NETWORKS.add("unet3d", UNet3d)
NETWORKS.add("vnet", VNet)


def check_network(text: str) -> str:
    """The canonical text of a network. Raises UsageError for an unknown network, parameter or kind of value."""
    name, values = parse_call(text, "network")
    parameters = inspect.signature(NETWORKS.get(name)).parameters
    for key, value in values.items():
        if key not in parameters:
            raise UsageError(f"network {name!r} has no parameter {key!r}; {nearest(key, list(parameters))}")
        kind = type(parameters[key].default)
        if isinstance(value, bool) or not isinstance(value, int | kind):
            raise UsageError(f"network {name!r}: {key} must be of type {kind.__name__}, got {value!r}")
        if value < 0 or (kind is int and value == 0):
            raise UsageError(f"network {name!r}: {key} must be positive, got {value!r}")
    return format_call(name, values)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Fill every parameter: He-normal convolutions, zero biases, unit norms; draws come from `generator` only."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm | nn.BatchNorm3d | nn.BatchNorm2d | nn.InstanceNorm3d):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise RuntimeError(f"no rule to initialise a {type(module).__name__} from a generator")


def expect_few_lesions(head: nn.Conv3d) -> None:
    """Set the last layer's biases so that an untrained network gives every voxel a lesion probability near `PRIOR`.

    Without it, cross-entropy spends its first hundred steps on learning that lesions are rare (Lin 2017, section 4.1).
    The same start serves every loss.
    """
    bias = head.bias
    if bias is None:
        raise RuntimeError("the last layer of a network needs a bias")
    lesions = max(1, len(bias) - 1)
    with torch.no_grad():
        bias.fill_(math.log(PRIOR / (1 - PRIOR) / lesions))
        if len(bias) > 1:
            bias[0] = 0


def build_network(text: str, generator: torch.Generator) -> nn.Module:
    """The network that `text` names, with weights drawn from `generator` alone (no global random state is touched).

    Raises UsageError as `check_network` does.
    """
    name, values = parse_call(check_network(text), "network")
    with torch.device("meta"):
        network = NETWORKS.get(name)(**values)
    network = network.to_empty(device="cpu")
    initialise(network, generator)
    head = network.get_submodule("head")
    if isinstance(head, nn.Conv3d):
        expect_few_lesions(head)
    return network


def network_multiple(text: str) -> int:
    """The number of voxels that each side of a patch must be a multiple of."""
    name, values = parse_call(check_network(text), "network")
    with torch.device("meta"):
        network = NETWORKS.get(name)(**values)
    return int(getattr(network, "multiple", 1))


def channels_last(network: nn.Module) -> nn.Module:
    """The same network with its convolution weights laid out channels-last, the faster layout on most machines."""
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def seed_dropout(network: nn.Module, generator: torch.Generator) -> None:
    """Make every dropout of the network draw from `generator`."""
    for module in network.modules():
        if isinstance(module, ChannelDropout):
            module.generator = generator


__all__ = [
    "NETWORKS",
    "UNet3d",
    "VNet",
    "build_network",
    "channels_last",
    "check_network",
    "initialise",
    "network_multiple",
    "seed_dropout",
]
