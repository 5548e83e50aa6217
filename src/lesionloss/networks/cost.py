"""Parameters, memory and operations of a network, counted on the meta device, where tensors have no memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from lesionloss.core.call_text import format_call
from lesionloss.core.errors import UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.networks import (
    as_outputs,
    blank_network,
    check_network,
    network_axes,
    network_channels,
    read_network,
    seed_dropout,
)
from lesionloss.networks.input_probing import first_line

DEFAULT_SIDES = {2: (256, 256), 3: (80, 80, 80)}


@dataclass(frozen=True)
class NetworkPart:
    """A part of a network: its name, the number of its parameters, and the multiply-adds of one forward pass."""

    name: str
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class NetworkCost:
    """Memory and operations of a network for one input.

    Attributes:
        input: Shape of the input, (B, C, *space).
        multiple: Sides must be multiples of it.
        axes: Axes of space.
        parameters: Number of parameters.
        activations: Bytes that a training step in float32 keeps for the backward pass, without weights, loss and
            optimiser.
        multiply_adds: Of convolutions and matrix products, one forward pass.
        parts: The same of each part.
        outputs: Name and shape of every output in training.
    """

    text: str
    input: tuple[int, ...]
    multiple: int
    axes: int
    parameters: int
    activations: int
    multiply_adds: int
    parts: tuple[NetworkPart, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape such as `1x3x80x80x80`: images, channels, two or three sides.

    Raises:
        UsageError: The text is anything else.
    """
    words = text.lower().replace("×", "x").split("x")
    if len(words) not in (4, 5) or not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--input must be like 1x3x80x80x80 (images, channels, two or three sides), got {text!r}")
    return tuple(int(word) for word in words)


def network_cost(text: str, shape: tuple[int, ...] | None = None) -> NetworkCost:
    """Count parameters, memory and operations of a network.

    Args:
        text: The network; where it does not give its input channels, they follow `shape`.
        shape: Shape of the input, (B, C, *space); None: one image of the usual size.

    Raises:
        UsageError: The text is wrong, or the input does not fit the network.
    """
    text, shape = _with_channels(text, shape)
    network = blank_network(text)
    multiple, axes = int(getattr(network, "multiple", 1)), int(getattr(network, "axes", 3))
    if len(shape) != axes + 2:
        raise UsageError(f"{text} takes {axes} axes of space, but the input {_by(shape)} has {len(shape) - 2}")
    if any(side % multiple for side in shape[2:]):
        raise UsageError(f"{text} needs sides that are multiples of {multiple}, got {_by(shape[2:])}")
    seed_dropout(network, torch_generator("summary"))
    counted = FlopCounterMode(display=False)
    kept = _KeptStorages(network)
    x = torch.empty(shape, device="meta")
    try:
        with counted, saved_tensors_hooks(kept.keep, kept.give):
            outputs = as_outputs(network.train()(x))
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"{text} can't take an input of {_by(shape)}: {first_line(error)}") from error
    counts = {name: sum(kinds.values()) for name, kinds in counted.get_flop_counts().items()}
    root = type(network).__name__
    parts = tuple(
        NetworkPart(name, _parameters(module), _flops_of(f"{root}.{name}", module, counts) // 2)
        for name, module in network.named_children()
    )
    return NetworkCost(
        text=text,
        input=shape,
        multiple=multiple,
        axes=axes,
        parameters=_parameters(network),
        activations=kept.bytes,
        multiply_adds=counted.get_total_flops() // 2,
        parts=parts,
        outputs=tuple((name, tuple(tensor.shape)) for name, tensor in _named(outputs)),
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class _KeptStorages:
    """Counts the storages that autograd keeps, each once, without the network's own parameters and buffers."""

    def __init__(self, network: nn.Module) -> None:
        """Note the network's own storages."""
        self.own = {_storage(tensor) for tensor in (*network.parameters(), *network.buffers())}
        self.alive: dict[int, Tensor] = {}  # keeps each storage alive, so that no identity is used again

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves."""
        if (key := _storage(tensor)) not in self.own:
            self.alive[key] = tensor
        return tensor

    def give(self, tensor: Tensor) -> Tensor:
        """Return it for the backward pass."""
        return tensor

    @property
    def bytes(self) -> int:
        """Bytes of all kept storages."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self.alive.values())


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _flops_of(name: str, module: nn.Module, counts: dict[str, int]) -> int:
    """Flops inside a module; a list of modules is never called itself, so its members are added up."""
    if name in counts:
        return counts[name]
    return sum(_flops_of(f"{name}.{child}", part, counts) for child, part in module.named_children())


def _named(outputs: Any) -> list[tuple[str, Tensor]]:
    found = [("logits", outputs.logits), *((f"deep {i}", deep) for i, deep in enumerate(outputs.deep, start=1))]
    visits = (("baseline", outputs.baseline), ("followup", outputs.followup))
    return found + [(name, tensor) for name, tensor in visits if tensor is not None]


def _with_channels(text: str, shape: tuple[int, ...] | None) -> tuple[str, tuple[int, ...]]:
    """The canonical text and the shape, agreed on the number of input channels."""
    text = check_network(text)
    design, values = read_network(text)
    key, inputs = design.channel_keys[0], network_channels(text)[0]
    if shape is None:
        return text, (1, inputs, *DEFAULT_SIDES[network_axes(text)])
    if inputs == shape[1]:
        return text, shape
    if key in values or not key:
        raise UsageError(f"{text} takes {inputs} channels, but the input {_by(shape)} has {shape[1]}")
    return format_call(design.name, values | {key: shape[1]}), shape


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
