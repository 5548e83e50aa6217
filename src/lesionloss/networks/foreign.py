"""Networks of MONAI by text, `monai:DynUNet(spatial_dims=3, ...)`: plain values only, weights from our generator."""

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.catalogue import nearest
from lesionloss.errors import UsageError
from lesionloss.networks.outputs import Outputs

PREFIX = "monai:"
CHANNELS = {"in_channels": 3, "out_channels": 1}  # where the text doesn't say: as for the networks of our own
MULTIPLES = (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 27, 32, 48, 64)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
PRIME = 37  # a side of PRIME·m voxels is a multiple of m and of no larger candidate


@contextlib.contextmanager
def lent_randomness(generator: torch.Generator, device: torch.device | None = None) -> Iterator[None]:
    """Torch's global streams, seeded from `generator` inside the block and put back behind it."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
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

    heads = ()

    def __init__(self, body: nn.Module, axes: int, multiple: int) -> None:
        super().__init__()
        self.body = body
        self.axes = axes
        self.multiple = multiple
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor | Outputs:
        if self.training and self.generator is not None:
            with lent_randomness(self.generator, x.device):
                return tidy(self.body(x), self.axes)
        if self.training and any(drops(module) for module in self.body.modules()):
            raise RuntimeError("a network with dropout needs a generator in training; see networks.seed_dropout")
        return tidy(self.body(x), self.axes)


def drops(module: nn.Module) -> bool:
    """Whether a layer is a dropout (of values, channels or paths) that would draw in training."""
    rates = (getattr(module, name, None) for name in ("p", "drop_prob"))
    return "drop" in type(module).__name__.lower() and any(isinstance(rate, int | float) and rate > 0 for rate in rates)


def tidy(result: Any, axes: int) -> Tensor | Outputs:
    """One form for what MONAI's networks give.

    A stack (B, heads, C, *space) has its main head first; a list is put in order of resolution, of equals the last
    first. What is not a map (a penalty beside the logits) is left out.
    """
    if isinstance(result, Tensor):
        if result.ndim == axes + 3:
            first, *rest = result.unbind(1)
            return Outputs(first, tuple(rest))
        return result
    if isinstance(result, list | tuple):
        maps = [part for part in result if isinstance(part, Tensor) and part.ndim == axes + 2]
        maps.reverse()
        maps.sort(key=lambda part: -part.shape[2:].numel())
        if maps:
            return Outputs(maps[0], tuple(maps[1:]))
    raise UsageError(f"the network gives a {type(result).__name__}, which holds no map of logits")


@dataclass(frozen=True)
class MonaiDesign:
    """A class of monai.networks.nets that takes `in_channels` and `out_channels`."""

    name: str
    kind: type[nn.Module]
    title: str
    source: str = "MONAI"

    @property
    def defaults(self) -> dict[str, Any]:
        parameters = inspect.signature(self.kind).parameters.values()
        named = (parameter for parameter in parameters if parameter.kind not in _VARIADIC)
        return {parameter.name: parameter.default for parameter in named} | CHANNELS

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they are. Raises UsageError for unknown, missing and fetching parameters."""
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
        """The network on the meta device. Raises UsageError for values the class refuses or that give no logits."""
        generator = torch.Generator().manual_seed(0)
        try:
            with torch.device("meta"):
                body = self._construct(values, generator)
        except UsageError:
            body = self._construct(values, generator).to("meta")  # some classes compute while they are built
        axes = self._axes(values)
        given = self.defaults | dict(values)
        return MonaiNetwork(body, axes, multiple_of(self.name, body, given, axes))

    def make(self, values: Mapping[str, Any], generator: torch.Generator) -> MonaiNetwork:
        """The network with the class's own kind of initial weights, drawn from `generator` alone."""
        blank = self.blank(values)
        return MonaiNetwork(self._construct(values, generator), blank.axes, blank.multiple)

    def _construct(self, values: Mapping[str, Any], generator: torch.Generator) -> nn.Module:
        silent = {key: False for key in self.defaults if "pretrained" in key}
        try:
            with lent_randomness(generator):
                return self.kind(**(CHANNELS | silent | dict(values)))
        except Exception as error:
            raise UsageError(f"{self.name} refuses these values: {first_line(error)}") from error

    def _axes(self, values: Mapping[str, Any]) -> int:
        axes = (self.defaults | dict(values)).get("spatial_dims", 3)
        if axes not in (2, 3):
            raise UsageError(f"network {self.name!r}: spatial_dims must be 2 or 3, got {axes!r}")
        return int(axes)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def multiple_of(name: str, body: nn.Module, values: Mapping[str, Any], axes: int) -> int:
    """What a patch's sides must be multiples of, found by trying sides on the meta device.

    A network built for one size of image (`img_size`) has that size. Raises UsageError if no size gives logits.
    """
    size = values.get("img_size")
    tries = [(max(sides), sides)] if (sides := _sides(size, axes)) else [(m, (PRIME * m,) * axes) for m in MULTIPLES]
    wanted, last = values["out_channels"], "no size fits"
    body.eval()
    for multiple, space in tries:
        x = torch.empty((1, values["in_channels"], *space), device="meta")
        try:
            result = tidy(body(x), axes)
        except Exception as error:  # foreign code: any error means that this size doesn't fit
            last = first_line(error)
            continue
        logits = result.logits if isinstance(result, Outputs) else result
        if tuple(logits.shape) == (1, wanted, *space):
            return multiple
        last = f"it gives {tuple(logits.shape)} for {tuple(x.shape)}"
    raise UsageError(f"{name} gives no logits on its input's grid, with sides of up to {MULTIPLES[-1]} voxels: {last}")


def _sides(size: object, axes: int) -> tuple[int, ...]:
    if isinstance(size, int):
        return (size,) * axes
    return tuple(int(side) for side in size) if isinstance(size, list | tuple) else ()


def monai_design(name: str) -> MonaiDesign:
    """The class of monai.networks.nets of that name. Raises UsageError if it is none that segments."""
    import monai.networks.nets as nets

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
        raise UsageError(f"{PREFIX}{name} has no in_channels and out_channels, so it can't be told to give logits")
    title = next((line for line in (kind.__doc__ or "").strip().splitlines() if line.strip()), kind.__name__)
    return MonaiDesign(PREFIX + kind.__name__, kind, title.strip())


def _segments(kind: type[nn.Module]) -> bool:
    return set(CHANNELS) <= set(inspect.signature(kind).parameters)
