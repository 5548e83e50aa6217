"""All that a training carries from step to step, and its two forms: live objects, and tensors with plain values.

There is no state of generators: every draw is named by the trial's pair and the step, so the step is enough.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.training.schedules import Progress

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """One line of history.csv. `seconds` since the start; the health shares are those last measured."""

    step: int
    loss: float
    learning_rate: float
    seconds: float
    zero_gradient_tensors: float
    zero_gradient_lesion: float


@dataclass
class State:
    """What the loop changes; `seen` is the digest of all batches so far, one after the other.

    `looks` are rows of plain values that were seen on the way, which change nothing.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list[Step] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    best: Tensors = field(default_factory=dict)
    seen: str = ""
    looks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The last step that is done."""
        return self.history[-1].step if self.history else 0

    @property
    def seconds(self) -> float:
        """Time spent on the steps that are done."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def health(self) -> tuple[float, float]:
        """The shares of `GradientHealth` last measured."""
        last = self.history[-1] if self.history else None
        return (last.zero_gradient_tensors, last.zero_gradient_lesion) if last else (math.nan, math.nan)

    def saw(self, *arrays: bytes) -> None:
        """Note the content of a batch."""
        self.seen = hashlib.sha256(b"".join((self.seen.encode(), *arrays))).hexdigest()


def weights_of(network: nn.Module) -> Tensors:
    """A copy of all parameters and buffers in main memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def take_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put a copy back; the layout of the network's tensors stays."""
    network.load_state_dict(weights, strict=True)


def packed(state: State) -> tuple[Tensors, dict[str, Any]]:
    """The state as contiguous tensors in main memory, and as values that JSON keeps exactly."""
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(state.network).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    plain: list[tuple[int, str, Any]] = []
    for index, parameter in enumerate(_parameters(state.optimiser)):
        for key, value in state.optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{key}"] = value.detach().to("cpu", copy=True).contiguous()
            else:
                plain.append((index, key, value))
    rows = [astuple(step) for step in state.history]
    tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(fields(Step)))
    return tensors, {
        "optimiser": plain,
        "scaler": state.scaler.state_dict(),
        "progress": asdict(state.progress),
        "seen": state.seen,
        "looks": state.looks,
    }


def unpack(state: State, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Bring a state to what `packed` gave, bit for bit. Raises KeyError or RuntimeError where it doesn't fit."""
    take_weights(state.network, _part(tensors, "model."))
    state.best = _part(tensors, "best.")
    parameters = _parameters(state.optimiser)
    state.optimiser.state.clear()
    for name, tensor in _part(tensors, "optimiser.").items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        state.optimiser.state[parameter][key] = _like(parameter, tensor)
    for number, key, value in values["optimiser"]:
        state.optimiser.state[parameters[number]][key] = value
    if values["scaler"]:
        state.scaler.load_state_dict(values["scaler"])
    state.progress = Progress(**values["progress"])
    state.seen = values["seen"]
    state.looks = [dict(row) for row in values.get("looks", [])]
    state.history = [Step(int(row[0]), *row[1:]) for row in tensors["history"].tolist()]


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _like(parameter: nn.Parameter, tensor: Tensor) -> Tensor:
    """A moment in its parameter's own layout, on its device; a count of steps as it was, in main memory."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape and tensor.ndim else tensor
