"""Networks that are not of this package: any class that gives logits, with its randomness from our generator."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.networks.initial_weights import expect_few_lesions
from lesionloss.networks.input_probing import ProbedInput, first_line, missing_package, probe_input
from lesionloss.networks.network_output import Outputs, normalise_outputs
from lesionloss.networks.parameter_limit import parameters_without_memory

# How libraries call the parameters for the number of input channels and of maps of logits.
INPUTS = ("inputs", "in_channels", "in_chans", "input_channels", "n_channels")
OUTPUTS = ("outputs", "out_channels", "out_chans", "output_channels", "classes", "num_classes", "n_classes")
DEFAULT_INPUTS, DEFAULT_OUTPUTS = 3, 1  # where the text does not say, as for our own networks
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@contextlib.contextmanager
def lent_randomness(generator: torch.Generator, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators from `generator` inside the block, and restore them after it."""
    seed = int(torch.randint(2**62, (1,), generator=generator, device="cpu"))  # whatever the default device is
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            torch.cuda.default_generators[gpu.index or 0].manual_seed(seed)
        yield


class ForeignNetwork(nn.Module):
    """A network with logits on its input's grid; (B, C, *space) in, a tensor or `Outputs` out.

    Whatever the network draws in training (dropout, stochastic depth) comes from `generator`, which the trial sets.

    Attributes:
        inputs: Channels of its images.
        outputs: Maps of logits.
    """

    def __init__(self, body: nn.Module, probed: ProbedInput) -> None:
        """Wrap a network."""
        super().__init__()
        self.body = body
        self.axes = probed.axes
        self.multiple = probed.multiple
        self.inputs, self.outputs = probed.inputs, probed.outputs
        self.heads = tuple(f"body.{head}" for head in probed.heads)
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor | Outputs:
        """Return the outputs for images (B, C, *space)."""
        if self.training and self.generator is not None:
            with lent_randomness(self.generator, x.device):
                return normalise_outputs(self.body(x), self.axes)
        if self.training and any(drops(module) for module in self.body.modules()):
            raise RuntimeError("a network with dropout needs a generator in training; see networks.seed_dropout")
        return normalise_outputs(self.body(x), self.axes)


def drops(module: nn.Module) -> bool:
    """Return whether a layer is a dropout (of values, channels or paths) that draws in training."""
    rates = (getattr(module, name, None) for name in ("p", "drop_prob"))
    return "drop" in type(module).__name__.lower() and any(isinstance(rate, int | float) and rate > 0 for rate in rates)


@dataclass(frozen=True)
class ForeignDesign:
    """A class, or a function that gives an `nn.Module`, with keyword parameters.

    Attributes:
        name: Its name in texts.
        kind: The class or function.
        title: A short description.
        source: The paper or library.
        channels: Default input channels and maps of logits, whatever the class says; None: those of the class.
    """

    name: str
    kind: Callable[..., nn.Module]
    title: str
    source: str
    channels: tuple[int, int] | None = None

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters of the class."""
        return dict(inspect.signature(self.kind).parameters)

    @property
    def channel_keys(self) -> tuple[str, str]:
        """The names of the parameters for input channels and maps of logits; empty where there is none."""
        inputs, outputs = (next((key for key in known if key in self.parameters), "") for known in (INPUTS, OUTPUTS))
        return inputs, outputs

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters and their default values."""
        found = {key: each.default for key, each in self.parameters.items() if each.kind not in _VARIADIC}
        for key, number in zip(self.channel_keys, self.channels or (DEFAULT_INPUTS, DEFAULT_OUTPUTS), strict=True):
            if key and (self.channels or found[key] is inspect.Parameter.empty):
                found[key] = number
        return found

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values.

        Raises:
            UsageError: An unknown or missing parameter, or one that would download weights.
        """
        defaults = self.defaults
        takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in self.parameters.values())
        for key, value in values.items():
            if key not in defaults and not takes_any:
                raise UsageError(f"network {self.name!r} has no parameter {key!r}; {nearest(key, list(defaults))}")
            if "pretrained" in key and value:
                raise UsageError(
                    f"network {self.name!r}: nothing is fetched, leave out {key!r}; load weights afterwards"
                )
        missing = [key for key, value in defaults.items() if value is inspect.Parameter.empty and key not in values]
        if missing:
            raise UsageError(f"network {self.name!r} needs {', '.join(missing)}")
        return dict(values)

    def blank(self, values: Mapping[str, Any]) -> ForeignNetwork:
        """Return the network on the meta device.

        Raises:
            UsageError: The class refuses the values, they give no logits, or too many parameters.
        """
        try:
            with torch.device("meta"):
                body = self._without_memory(values)
        except UsageError:
            body = self._without_memory(values).to("meta")  # some classes compute while they are built
        given = self.defaults | dict(values)
        stated = [given.get(key) for key in self.channel_keys]
        inputs, outputs = (number if isinstance(number, int) else 0 for number in stated)
        return ForeignNetwork(body, probe_input(self.name, body, given, inputs, outputs))

    def make(
        self, values: Mapping[str, Any], generator: torch.Generator, initial: str = "lesion_prior"
    ) -> ForeignNetwork:
        """Return the network with the class's own initialisation, drawn from `generator` alone.

        With `lesion_prior`, where a last layer with biases gives the logits, it starts at a low lesion probability, as
        in our own networks.

        Raises:
            UsageError: `initial` is `xavier`, which not every class allows.
        """
        if initial == "xavier":
            raise UsageError(f"{self.name} starts as its class does: initial must be torch or lesion_prior, got xavier")
        network = self.blank(values)
        network.body = self._construct(values, generator)
        for head in network.heads if initial == "lesion_prior" else ():
            expect_few_lesions(network.get_submodule(head))
        return network

    def _without_memory(self, values: Mapping[str, Any]) -> nn.Module:
        with parameters_without_memory(self.name):
            return self._construct(values, torch.Generator().manual_seed(0))

    def _construct(self, values: Mapping[str, Any], generator: torch.Generator) -> nn.Module:
        defaults = self.defaults
        silent = {key: False for key in defaults if "pretrained" in key}
        channels = {key: defaults[key] for key in self.channel_keys if key}
        try:
            with lent_randomness(generator):
                made = self.kind(**(channels | silent | dict(values)))
        except ImportError as error:
            raise missing_package(self.name, error) from error
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{self.name} refuses these values: {first_line(error)}") from error
        if not isinstance(made, nn.Module):
            raise UsageError(f"network {self.name!r} must be an nn.Module; its function gives a {type(made).__name__}")
        return made
