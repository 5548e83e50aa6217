"""The networks that a text can name: their parameters, their sources, and how they are made."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lesionloss.core.catalogue import Catalogue, nearest
from lesionloss.core.errors import UsageError, shown
from lesionloss.networks.double_unet import PlainUNet, UNet2d
from lesionloss.networks.foreign_networks import ForeignDesign
from lesionloss.networks.initial_weights import expect_few_lesions, initialise, initialise_torch, initialise_xavier
from lesionloss.networks.longitudinal_vnet import LongitudinalVNet
from lesionloss.networks.parameter_limit import parameters_without_memory
from lesionloss.networks.resnet34_unet import ResNet34UNet
from lesionloss.networks.unet3d import UNet3d
from lesionloss.networks.vnet import VNet

SYNONYMS = {"in_channels": "inputs", "out_channels": "outputs"}

LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class Design:
    """A network that a text can name. Its module has `multiple` (voxels), `axes` and the names of its `heads`.

    Attributes:
        name: Its name in texts.
        build: The class of the module.
        title: A short description.
        source: The paper.
        initialise: Sets the initial weights, drawn from a generator alone, unless another rule is named.
    """

    name: str
    build: Callable[..., nn.Module]
    title: str
    source: str
    initialise: Callable[[nn.Module, torch.Generator], None] = initialise

    @property
    def channel_keys(self) -> tuple[str, str]:
        """The names of the parameters for input channels and maps of logits; empty where there is none."""
        inputs, outputs = (key if key in self.defaults else "" for key in ("inputs", "outputs"))
        return inputs, outputs

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters and their default values."""
        return {key: parameter.default for key, parameter in inspect.signature(self.build).parameters.items()}

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values under their own names.

        Raises:
            UsageError: An unknown or repeated parameter, or a value of the wrong type.
        """
        defaults = self.defaults
        found: dict[str, Any] = {}
        for given, value in values.items():
            key = SYNONYMS.get(given, given)
            if key not in defaults:
                raise UsageError(f"network {self.name!r} has no parameter {given!r}; {nearest(given, list(defaults))}")
            if key in found:
                raise UsageError(f"network {self.name!r}: {given!r} gives {key!r} a second time")
            found[key] = _checked_value(self.name, given, value, defaults[key])
        self.blank(found)
        return found

    def blank(self, values: Mapping[str, Any]) -> nn.Module:
        """Return the network on the meta device, without memory.

        Raises:
            UsageError: Values that do not fit, or too many parameters.
        """
        with parameters_without_memory(self.name), torch.device("meta"):
            return self.build(**values)

    def make(self, values: Mapping[str, Any], generator: torch.Generator, initial: str = "lesion_prior") -> nn.Module:
        """Return the network with weights drawn from `generator` by one of the rules of `initial_weights.INITIAL`."""
        network = self.blank(values).to_empty(device="cpu")
        rule = {"torch": initialise_torch, "xavier": initialise_xavier}.get(initial, self.initialise)
        rule(network, generator)
        if initial == "lesion_prior":
            for head in tuple(getattr(network, "heads", ())):
                expect_few_lesions(network.get_submodule(head))
        return network


def _checked_value(network: str, key: str, value: object, default: object) -> object:
    kind = type(default)
    fits = isinstance(value, bool) == (kind is bool) and isinstance(value, int | kind)
    if not fits:
        raise UsageError(f"network {network!r}: {key} must be of type {kind.__name__}, got {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool) and (value < 0 or (kind is int and value == 0)):
        raise UsageError(f"network {network!r}: {key} must be positive, got {value!r}")
    if isinstance(value, int) and value > LARGEST_NUMBER:  # torch would end in a traceback
        raise UsageError(f"network {network!r}: {key} must be at most {LARGEST_NUMBER}, got {shown(value)}")
    return value


NetworkDesign = Design | ForeignDesign
NETWORKS: Catalogue[NetworkDesign] = Catalogue("network")
for _design in (
    Design("unet3d", UNet3d, "3-D U-Net, one convolution a level", "Cabezas & Diez 2024"),
    Design("vnet", VNet, "V-Net with one head", "CoactSeg (Wu 2023) and HyTver, without their single-visit heads"),
    Design(
        "longitudinal_vnet",
        LongitudinalVNet,
        "V-Net with heads for both visits and for new lesions",
        "CoactSeg (Wu 2023), HyTver",
    ),
    Design("unet2d", UNet2d, "2-D U-Net with instance norm", "Yeung 2023 (DSC++)", initialise_xavier),
    Design("plain_unet", PlainUNet, "U-Net with heads at 1, 1/2, 1/4", "Hosseini 2024 (TopK Dice); Ronneberger 2015"),
    Design(
        "resnet34_unet",
        ResNet34UNet,
        "U-Net with a ResNet-34 encoder, heads at 1/4, 1/8, 1/16",
        "Hosseini 2024 (TopK Dice); He 2016",
    ),
):
    NETWORKS.add(_design.name, _design)
