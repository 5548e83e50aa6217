"""Networks by name: `build_network("unet3d(filters=8)", generator)` gives the same weights for the same generator."""

import functools
from typing import Any, NamedTuple

import torch
from torch import nn

from lesionloss.core.call_text import format_call, parse_call
from lesionloss.core.devices import without_default_device
from lesionloss.core.errors import expect_type
from lesionloss.networks.designs import NETWORKS, Design
from lesionloss.networks.initial_weights import check_initial, initialise
from lesionloss.networks.layers import ChannelDropout
from lesionloss.networks.monai_networks import PREFIX, MonaiDesign, MonaiNetwork, monai_design
from lesionloss.networks.network_output import Outputs, as_outputs, logits_of
from lesionloss.networks.unet3d import UNet3d
from lesionloss.networks.vnet import VNet


class InputRequirements(NamedTuple):
    """What a network needs of its input: sides in multiples of `multiple` voxels, and `axes` axes of space."""

    multiple: int
    axes: int


def read_network(text: str) -> tuple[Design | MonaiDesign, dict[str, Any]]:
    """Return the design that `text` names and its checked values.

    Raises:
        UsageError: An unknown network or parameter, or a value of the wrong type.
    """
    expect_type(text, str, "network", "write a name, such as 'unet3d(filters=8)'")
    foreign = text.strip().startswith(PREFIX)
    name, values = parse_call(text.strip().removeprefix(PREFIX), "network")
    design = monai_design(name) if foreign else NETWORKS.get(name)
    return design, design.checked(values)


def list_networks() -> list[Design]:
    """Return all networks of the package, in the order of registration: names, parameters and sources."""
    return list(NETWORKS)


def check_network(text: str) -> str:
    """Return the canonical text of a network.

    Raises:
        UsageError: As `read_network`, and for values that do not fit.
    """
    design, values = read_network(text)
    canonical = format_call(design.name, values)
    _input_requirements(canonical)
    return canonical


@without_default_device
def build_network(text: str, generator: torch.Generator, *, initial: str = "lesion_prior") -> nn.Module:
    """Build a network with random initial weights.

    Args:
        text: The network, such as `unet3d(filters=8)` or `monai:UNet(spatial_dims=3, ...)`.
        generator: The only source of random numbers; no global random state is touched.
        initial: "lesion_prior": the network's own rule (He-normal; unet2d: Xavier), and a lesion probability of 0.01
            everywhere; "torch": the defaults of PyTorch's layers; "xavier": Xavier-uniform weights, biases of 0.

    Returns:
        A network on the CPU; its forward takes images (B, inputs, *space) and gives logits (B, outputs, *space) or
        `Outputs`.

    Raises:
        UsageError: The text is wrong, or `initial` is unknown; the message has the nearest known name. Or there is no
            generator.
    """
    expect_type(generator, torch.Generator, "generator", "pass torch.Generator().manual_seed(1)")
    design, values = read_network(text)
    return design.make(values, generator, check_initial(initial))


@functools.lru_cache(maxsize=64)
def _input_requirements(canonical: str) -> InputRequirements:
    network = blank_network(canonical)
    return InputRequirements(int(getattr(network, "multiple", 1)), int(getattr(network, "axes", 3)))


def blank_network(text: str) -> nn.Module:
    """Return the network on the meta device: every shape, no memory.

    Raises:
        UsageError: As `check_network`.
    """
    design, values = read_network(text)
    return design.blank(values)


def network_multiple(text: str) -> int:
    """Return the number of voxels that each side of a patch must be a multiple of."""
    return _input_requirements(check_network(text)).multiple


def network_axes(text: str) -> int:
    """Return the axes of space of the network's images: 2 for slices, 3 for volumes."""
    return _input_requirements(check_network(text)).axes


def network_channels(text: str) -> tuple[int, int]:
    """Return the input channels and the maps of logits of a network; 0 where its text does not say."""
    design, values = read_network(text)
    names = {"in_channels": "inputs", "out_channels": "outputs"}
    known = {names.get(key, key): value for key, value in {**design.defaults, **values}.items()}
    found = [known.get(key) for key in ("inputs", "outputs")]
    inputs, outputs = (value if isinstance(value, int) else 0 for value in found)
    return inputs, outputs


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the convolution weights out channels-last, which is faster on most machines; return the same network."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.ndim])
    return network


def seed_dropout(network: nn.Module, generator: torch.Generator) -> None:
    """Let everything that the network draws in training, such as dropout, come from `generator`."""
    for module in network.modules():
        if isinstance(module, ChannelDropout | MonaiNetwork):
            module.generator = generator


__all__ = [
    "NETWORKS",
    "Design",
    "InputRequirements",
    "MonaiDesign",
    "Outputs",
    "UNet3d",
    "VNet",
    "as_outputs",
    "blank_network",
    "build_network",
    "channels_last",
    "check_network",
    "initialise",
    "list_networks",
    "logits_of",
    "network_axes",
    "network_channels",
    "network_multiple",
    "read_network",
    "seed_dropout",
]
