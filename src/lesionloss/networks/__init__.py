"""Networks by name: `build_network("unet3d(filters=8)", generator)` gives the same weights for the same generator."""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from lesionloss.core.call_text import format_call
from lesionloss.core.devices import without_default_device
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.user_files import UserFile, user_files_with
from lesionloss.networks.designs import NETWORKS, Design, NetworkDesign
from lesionloss.networks.foreign_networks import ForeignDesign, ForeignNetwork
from lesionloss.networks.initial_weights import check_initial, initialise
from lesionloss.networks.layers import ChannelDropout
from lesionloss.networks.monai_networks import LIBRARY, monai_design
from lesionloss.networks.network_output import Outputs, as_outputs, logits_of
from lesionloss.networks.network_text import NetworkText, parse_network
from lesionloss.networks.own_networks import allow_module, digest_of_class, imported_design, is_allowed, network
from lesionloss.networks.unet3d import UNet3d
from lesionloss.networks.vnet import VNet


class InputRequirements(NamedTuple):
    """What a network needs of its input, and what it gives.

    Attributes:
        multiple: What the sides must be multiples of, in voxels.
        axes: Axes of space.
        inputs: Channels of the images; 0: not known.
        outputs: Maps of logits; 0: not known.
    """

    multiple: int
    axes: int
    inputs: int
    outputs: int


def read_network(text: str) -> tuple[NetworkDesign, dict[str, Any]]:
    """Return the design that `text` names and its checked values. `package.module:Class(...)` imports the module.

    Raises:
        UsageError: An unknown network or parameter, or a value of the wrong type.
    """
    library, name, values = parse_network(text)
    design: NetworkDesign
    if library:
        design = monai_design(name) if library == LIBRARY else imported_design(library, name)
    else:
        design = NETWORKS.get(name)
    return design, design.checked(values)


def user_files_of(text: str) -> list[UserFile]:
    """Return the loaded files of the user's that register the network of a text.

    Raises:
        UsageError: As `parse_network`.
    """
    library, name, _ = parse_network(text)
    return [] if library else user_files_with(NETWORKS, [name])


def code_digest(text: str) -> str:
    """Return the SHA-256 of the code of a network that is neither ours nor MONAI's: of its file; else empty.

    Raises:
        UsageError: As `read_network`.
    """
    digests = sorted(file.sha256 for file in user_files_of(text))
    if len(digests) > 1:
        return hashlib.sha256("".join(digests).encode()).hexdigest()
    library, name, _ = parse_network(text)
    if library in ("", LIBRARY):
        return "".join(digests)
    return digest_of_class(imported_design(library, name))


def list_networks() -> list[NetworkDesign]:
    """Return all registered networks, in the order of registration: names, parameters and sources; yours at the end."""
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
def build_network(
    text: str,
    generator: torch.Generator,
    *,
    initial: str = "lesion_prior",
    channels: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> nn.Module:
    """Build a network with random initial weights.

    Args:
        text: The network, such as `unet3d(filters=8)`, `monai:UNet(spatial_dims=3, ...)` or
            `package.module:Class(...)`, which imports the module.
        generator: The only source of random numbers; no global random state is touched.
        initial: "lesion_prior": the network's own rule (He-normal; unet2d: Xavier), and a lesion probability of 0.01
            everywhere; "torch": the defaults of PyTorch's layers; "xavier": Xavier-uniform weights, biases of 0.
        channels: Channels of the images, such as `case.channels`: the inputs, where the text states none.
        classes: Lesion classes, such as `case.classes`: they give the outputs, where the text states none.

    Returns:
        A network on the CPU; its forward takes images (B, inputs, *space) and gives logits (B, outputs, *space) or
        `Outputs`.

    Raises:
        UsageError: The text is wrong, or `initial` is unknown; the message has the nearest known name. Or there is no
            generator, or only one of channels and classes.
    """
    expect_type(generator, torch.Generator, "generator", "pass torch.Generator().manual_seed(1)")
    if channels and classes:
        text = with_channels(text, channels, classes)
    elif channels or classes:
        raise UsageError("give channels and classes, or neither: both come from the data")
    design, values = read_network(text)
    return design.make(values, generator, check_initial(initial))


def _input_requirements(text: str) -> InputRequirements:
    design, values = read_network(text)
    return _requirements_of(design, format_call(design.name, values))


@functools.lru_cache(maxsize=64)
def _requirements_of(design: NetworkDesign, canonical: str) -> InputRequirements:
    values = parse_network(canonical).values
    built, known = design.blank(values), design.defaults | values
    stated = [known.get(key) for key in design.channel_keys]
    channels = [number if isinstance(number, int) else 0 for number in stated]
    if isinstance(built, ForeignNetwork):
        channels = [built.inputs, built.outputs]
    return InputRequirements(int(getattr(built, "multiple", 1)), int(getattr(built, "axes", 3)), *channels)


def blank_network(text: str) -> nn.Module:
    """Return the network on the meta device: every shape, no memory.

    Raises:
        UsageError: As `check_network`.
    """
    design, values = read_network(text)
    return design.blank(values)


def network_multiple(text: str) -> int:
    """Return the number of voxels that each side of a patch must be a multiple of."""
    return _input_requirements(text).multiple


def network_axes(text: str) -> int:
    """Return the axes of space of the network's images: 2 for slices, 3 for volumes."""
    return _input_requirements(text).axes


def network_channels(text: str) -> tuple[int, int]:
    """Return the input channels and the maps of logits of a network; 0 where they are not known."""
    found = _input_requirements(text)
    return found.inputs, found.outputs


def with_channels(text: str, channels: Sequence[str], classes: Sequence[str]) -> str:
    """Return the text of a network with the channels of some data, where it does not state its own.

    Args:
        text: The network.
        channels: Names of the channels of the images.
        classes: Names of the lesion classes; one class may have one map of logits or two.

    Returns:
        The canonical text; unchanged where a stated number differs or the network has no such parameter.

    Raises:
        UsageError: As `check_network`.
    """
    design, values = read_network(text)
    known = network_channels(text)
    wanted = (len(channels), known[1] if outputs_fit(known[1], classes) else len(classes) + 1)
    pairs = zip(design.channel_keys, wanted, known, strict=True)
    needed = {key: number for key, number, now in pairs if key and number != now}
    if not needed or set(needed) & set(values):
        return text
    return check_network(format_call(design.name, {**values, **needed}))


def outputs_fit(outputs: int, classes: Sequence[str]) -> bool:
    """Return whether so many maps of logits fit the lesion classes: one more than classes, or one for one class."""
    return outputs == len(classes) + 1 or (len(classes), outputs) == (1, 1)


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
        if isinstance(module, ChannelDropout | ForeignNetwork):
            module.generator = generator


__all__ = [
    "NETWORKS",
    "Design",
    "ForeignDesign",
    "InputRequirements",
    "NetworkDesign",
    "NetworkText",
    "Outputs",
    "UNet3d",
    "VNet",
    "allow_module",
    "as_outputs",
    "blank_network",
    "build_network",
    "channels_last",
    "check_network",
    "code_digest",
    "initialise",
    "is_allowed",
    "list_networks",
    "logits_of",
    "network",
    "network_axes",
    "network_channels",
    "network_multiple",
    "outputs_fit",
    "parse_network",
    "read_network",
    "seed_dropout",
    "user_files_of",
    "with_channels",
]
