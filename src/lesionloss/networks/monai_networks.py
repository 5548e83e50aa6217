"""Networks of MONAI by text, `monai:DynUNet(spatial_dims=3, ...)`: plain values only, weights from our generator."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import UsageError
from lesionloss.core.extras import missing_extra
from lesionloss.networks.initial_weights import expect_few_lesions
from lesionloss.networks.input_probing import ProbedInput, first_line, missing_package, probe_input
from lesionloss.networks.network_output import Outputs, normalise_outputs
from lesionloss.networks.parameter_limit import parameters_without_memory

PREFIX = "monai:"
CHANNELS = {"in_channels": 3, "out_channels": 1}  # where the text does not say, as for our own networks
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


class MonaiNetwork(nn.Module):
    """A network of MONAI with logits on its input's grid; (B, C, *space) in, a tensor or `Outputs` out.

    Whatever the network draws in training (dropout, stochastic depth) comes from `generator`, which the trial sets.
    """

    def __init__(self, body: nn.Module, axes: int, probed: ProbedInput) -> None:
        """Wrap a network of MONAI."""
        super().__init__()
        self.body = body
        self.axes = axes
        self.multiple = probed.multiple
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
class MonaiDesign:
    """A class of monai.networks.nets that takes `in_channels` and `out_channels`."""

    name: str
    kind: type[nn.Module]
    title: str
    source: str = "MONAI"

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters and their default values."""
        parameters = inspect.signature(self.kind).parameters.values()
        named = (parameter for parameter in parameters if parameter.kind not in _VARIADIC)
        return {parameter.name: parameter.default for parameter in named} | CHANNELS

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values.

        Raises:
            UsageError: An unknown or missing parameter, or one that would download weights.
        """
        defaults = self.defaults
        for key, value in values.items():
            if key not in defaults:
                raise UsageError(f"network {self.name!r} has no parameter {key!r}; {nearest(key, list(defaults))}")
            if "pretrained" in key and value:
                raise UsageError(
                    f"network {self.name!r}: nothing is fetched, leave out {key!r}; load weights afterwards"
                )
        missing = [key for key, value in defaults.items() if value is inspect.Parameter.empty and key not in values]
        if missing:
            raise UsageError(f"network {self.name!r} needs {', '.join(missing)}")
        return dict(values)

    def blank(self, values: Mapping[str, Any]) -> MonaiNetwork:
        """Return the network on the meta device.

        Raises:
            UsageError: The class refuses the values, they give no logits, or too many parameters.
        """
        try:
            with torch.device("meta"):
                body = self._without_memory(values)
        except UsageError:
            body = self._without_memory(values).to("meta")  # some classes compute while they are built
        axes = self._axes(values)
        given = self.defaults | dict(values)
        return MonaiNetwork(body, axes, probe_input(self.name, body, given, axes))

    def make(
        self, values: Mapping[str, Any], generator: torch.Generator, initial: str = "lesion_prior"
    ) -> MonaiNetwork:
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
        silent = {key: False for key in self.defaults if "pretrained" in key}
        try:
            with lent_randomness(generator):
                return self.kind(**(CHANNELS | silent | dict(values)))
        except ImportError as error:
            raise missing_package(self.name, error) from error
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{self.name} refuses these values: {first_line(error)}") from error

    def _axes(self, values: Mapping[str, Any]) -> int:
        axes = (self.defaults | dict(values)).get("spatial_dims", 3)
        if axes not in (2, 3):
            raise UsageError(f"network {self.name!r}: spatial_dims must be 2 or 3, got {axes!r}")
        return int(axes)


def monai_design(name: str) -> MonaiDesign:
    """Return the class of monai.networks.nets of that name.

    Raises:
        UsageError: There is none, or it does not segment.
    """
    try:
        import monai.networks.nets as nets
    except ModuleNotFoundError as error:
        raise missing_extra(error, f"network {PREFIX}{name}") or error from error

    known = {
        key: kind
        for key, kind in vars(nets).items()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__.startswith("monai.networks.nets.")
    }
    if name not in known:
        fitting = sorted({kind.__name__ for kind in known.values() if _segments(kind)})
        raise UsageError(f"MONAI has no network {name!r}; {nearest(name, fitting)}")
    kind = known[name]
    if not _segments(kind):
        raise UsageError(f"{PREFIX}{name} has no in_channels and out_channels, so it is no network for segmentation")
    title = next((line for line in (kind.__doc__ or "").strip().splitlines() if line.strip()), kind.__name__)
    return MonaiDesign(PREFIX + kind.__name__, kind, title.strip())


def _segments(kind: type[nn.Module]) -> bool:
    return set(CHANNELS) <= set(inspect.signature(kind).parameters)
