"""What a foreign network needs of its input, found by trying sizes on the meta device, where nothing is computed."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lesionloss.core.errors import UsageError
from lesionloss.networks.network_output import Outputs, logits_of, normalise_outputs

MULTIPLES = (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 27, 32, 48, 64)
PRIME = 37  # a side of PRIME·m voxels is a multiple of m and of no larger candidate


class ProbedInput(NamedTuple):
    """What a network takes and gives.

    Attributes:
        axes: Axes of space.
        multiple: What sides must be multiples of.
        inputs: Channels of the images.
        outputs: Maps of logits.
        heads: Names of the layers with biases that give the logits.
    """

    axes: int
    multiple: int
    inputs: int
    outputs: int
    heads: tuple[str, ...]


def probe_input(name: str, body: nn.Module, values: Mapping[str, Any], inputs: int, outputs: int) -> ProbedInput:
    """Try inputs until the network gives logits (1, outputs, *space) on its input's grid.

    A class that states `axes` or `multiple` as attributes is believed.

    Args:
        name: The network's name, for messages.
        body: The network on the meta device.
        values: Its parameters; a network built for one size of image (`img_size`) has that size.
        inputs: Channels of its images; 0: those of one of its convolutions.
        outputs: Maps of logits; 0: any number.

    Raises:
        UsageError: No input gives logits.
    """
    axes = _axes(name, body, values)
    sides = _sides(values.get("img_size"), axes)
    multiples = (stated,) if isinstance(stated := getattr(body, "multiple", None), int) else MULTIPLES
    tries = [(max(sides), sides)] if sides else [(m, (PRIME * m,) * axes) for m in multiples]
    channels = [inputs] if inputs else _channels(body)
    last = ""
    body.eval()
    for (multiple, space), number in itertools.product(tries, channels):
        try:
            logits, heads = _logits_and_heads(body, (1, number, *space), axes)
        except ImportError as error:
            raise missing_package(name, error) from error
        except Exception as error:  # foreign code: any error means that this size does not fit
            last = first_line(error)
            continue
        if tuple(logits.shape) == (1, outputs or logits.shape[1], *space):
            return ProbedInput(axes, multiple, number, logits.shape[1], heads)
        last = f"for sides of {'×'.join(map(str, space))} it gives {'×'.join(map(str, logits.shape))}"
    raise UsageError(f"{name} gives no logits on its input's grid, with sides of up to {MULTIPLES[-1]} voxels: {last}")


def _axes(name: str, body: nn.Module, values: Mapping[str, Any]) -> int:
    """Axes of space: as the class or its parameter states, else those of its convolutions."""
    stated = getattr(body, "axes", values.get("spatial_dims"))
    if stated is not None and stated not in (2, 3):
        raise UsageError(f"network {name!r}: spatial_dims must be 2 or 3, got {stated!r}")
    if isinstance(stated, int):
        return stated
    layers = list(body.modules())
    flat = any(isinstance(each, nn.Conv2d) for each in layers)
    return 2 if flat and not any(isinstance(each, nn.Conv3d) for each in layers) else 3


def _channels(body: nn.Module) -> list[int]:
    """The input channels of all convolutions, each once."""
    found = [each.in_channels for each in body.modules() if isinstance(each, nn.Conv2d | nn.Conv3d)]
    return list(dict.fromkeys(found)) or [1]


def missing_package(name: str, error: ImportError) -> UsageError:
    """Describe a package that a network needs and that is not installed."""
    return UsageError(f"network {name} needs a package that is not installed: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _sides(size: object, axes: int) -> tuple[int, ...]:
    if isinstance(size, int):
        return (size,) * axes
    return tuple(int(side) for side in size) if isinstance(size, list | tuple) else ()


def _logits_and_heads(body: nn.Module, shape: tuple[int, ...], axes: int) -> tuple[Tensor, tuple[str, ...]]:
    with _outputs_of_last_layers(body) as given:
        result: Tensor | Outputs = normalise_outputs(body(torch.empty(shape, device="meta")), axes)
    logits = logits_of(result)
    heads = [name for name, output in given.items() if output is logits and _biases(body, name) == logits.shape[1]]
    return logits, tuple(heads)


def _biases(body: nn.Module, name: str) -> int:
    bias = getattr(body.get_submodule(name), "bias", None)
    return len(bias) if isinstance(bias, Tensor) else 0


@contextmanager
def _outputs_of_last_layers(body: nn.Module) -> Iterator[dict[str, object]]:
    """Collect the last output of each convolution, by its name."""
    given: dict[str, object] = {}
    handles = []
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):

            def note(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
                given[name] = output

            handles.append(module.register_forward_hook(note))
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()
