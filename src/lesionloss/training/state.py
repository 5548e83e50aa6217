"""The state that a training run carries from step to step, as live objects and as tensors with plain values.

It holds no state of random generators: every draw is named by the trial's pair and the step, so the step is enough.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from lesionloss.training.schedules import ScoreProgress

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """One line of history.csv.

    Attributes:
        seconds: Since the training run started.
        zero_gradient_tensors: Share of parameter tensors without a gradient, when last measured.
        zero_gradient_lesion: Share of lesion voxels without a gradient, when last measured.
        gradient_norm: Euclidean norm of the gradient of all trained parameters, before it is limited to `clip_norm`.
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    zero_gradient_tensors: float
    zero_gradient_lesion: float
    gradient_norm: float = math.nan  # checkpoints of earlier versions have none


@dataclass
class State:
    """What the loop changes.

    Attributes:
        best: The best weights so far; empty without validation.
        batches_digest: SHA-256 of all batches so far, one after the other.
        observed: Rows of the observer.
        stop_points: Steps at which the run might have stopped early, with the digest of the batches until there; the
            runs of a pair may stop at different ones.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list[Step] = field(default_factory=list)
    progress: ScoreProgress = field(default_factory=ScoreProgress)
    best: Tensors = field(default_factory=dict)
    batches_digest: str = ""
    observed: list[dict[str, Any]] = field(default_factory=list)
    stop_points: list[tuple[int, str]] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The last finished step."""
        return self.history[-1].step if self.history else 0

    @property
    def seconds(self) -> float:
        """Time spent on the finished steps."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def health(self) -> tuple[float, float]:
        """The two shares of `gradient_health` that were last measured."""
        last = self.history[-1] if self.history else None
        return (last.zero_gradient_tensors, last.zero_gradient_lesion) if last else (math.nan, math.nan)


def weights_of(network: nn.Module) -> Tensors:
    """Return a copy of all parameters and buffers in main memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}


def set_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a network; the memory layout of its tensors stays."""
    network.load_state_dict(weights, strict=True)


def pack(state: State) -> tuple[Tensors, dict[str, Any]]:
    """Return the state as contiguous tensors in main memory, and as values that JSON keeps exactly."""
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
        "batches_digest": state.batches_digest,
        "observed": state.observed,
        "stop_points": state.stop_points,
    }


def unpack(state: State, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Bring a state to what `pack` returned, bit for bit.

    Raises:
        KeyError: A value is missing.
        RuntimeError: A tensor does not fit the network.
    """
    set_weights(state.network, _with_prefix(tensors, "model."))
    state.best = _with_prefix(tensors, "best.")
    parameters = _parameters(state.optimiser)
    state.optimiser.state.clear()
    for name, tensor in _with_prefix(tensors, "optimiser.").items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        fused = bool(state.optimiser.param_groups[0].get("fused"))
        state.optimiser.state[parameter][key] = _like(parameter, tensor, fused)
    for number, key, value in values["optimiser"]:
        state.optimiser.state[parameters[number]][key] = value
    if values["scaler"]:
        state.scaler.load_state_dict(values["scaler"])
    state.progress = ScoreProgress(**values["progress"])
    state.batches_digest = values["batches_digest"]
    state.observed = [dict(row) for row in values["observed"]]
    state.stop_points = [(int(step), str(digest)) for step, digest in values["stop_points"]]
    state.history = [Step(int(row[0]), *row[1:]) for row in tensors["history"].tolist()]


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _like(parameter: nn.Parameter, tensor: Tensor, fused: bool) -> Tensor:
    """A moment in the memory layout and on the device of its parameter; a step counter as it is.

    A fused optimiser has its step counter on the device, others have it in main memory.
    """
    if tensor.shape == parameter.shape and tensor.ndim:
        return torch.empty_like(parameter).copy_(tensor)
    return tensor.to(parameter.device) if fused else tensor
