"""Optimisers by text: `adam`, `adamw(weight_decay=0.05)`, `sgd(momentum=0.99, nesterov=True)`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from torch import nn

from lesionloss.core.ranges import Range
from lesionloss.training.setting_texts import format_setting, read_setting

Decay = Annotated[float, Range(0)]
Beta = Annotated[float, Range(0, 0.999999)]
Epsilon = Annotated[float, Range(0, above=True)]


class OptimiserSettings(Protocol):
    """Anything that makes a torch optimiser."""

    def over(self, parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Return the optimiser of these parameters at this learning rate."""
        ...


@dataclass(frozen=True)
class AdamSettings:
    """Kingma & Ba 2015; `beta1` and `beta2` are the paper's, `weight_decay` is added to the gradient."""

    beta1: Beta = 0.9
    beta2: Beta = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Decay = 0.0

    def over(self, parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Return `torch.optim.Adam` of these parameters at this learning rate."""
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(
            parameters,
            lr=rate,
            betas=betas,
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=_on_gpu(parameters),
        )


@dataclass(frozen=True)
class AdamWSettings:
    """Loshchilov & Hutter 2019: Adam with weight decay decoupled from the gradient."""

    beta1: Beta = 0.9
    beta2: Beta = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Decay = 0.01

    def over(self, parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Return `torch.optim.AdamW` of these parameters at this learning rate."""
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(
            parameters,
            lr=rate,
            betas=betas,
            eps=self.epsilon,
            weight_decay=self.weight_decay,
            fused=_on_gpu(parameters),
        )


@dataclass(frozen=True)
class SgdSettings:
    """Stochastic gradient descent with momentum; nnU-Net: momentum 0.99 with Nesterov, weight decay 3e-5."""

    momentum: Beta = 0.9
    nesterov: bool = False
    weight_decay: Decay = 0.0

    def over(self, parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Return `torch.optim.SGD` of these parameters at this learning rate."""
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=self.momentum,
            nesterov=nesterov,
            weight_decay=self.weight_decay,
            fused=_on_gpu(parameters),
        )


def _on_gpu(parameters: Sequence[nn.Parameter]) -> bool | None:
    """True on a GPU, where one operation then updates all weights; None leaves the choice to torch."""
    return True if parameters and all(parameter.device.type == "cuda" for parameter in parameters) else None


OPTIMISERS: Mapping[str, type[Any]] = {"adam": AdamSettings, "adamw": AdamWSettings, "sgd": SgdSettings}


def read_optimiser(text: str) -> OptimiserSettings:
    """Return the optimiser that `text` names.

    Raises:
        UsageError: Unknown name or setting, or a value out of range.
    """
    optimiser: OptimiserSettings = read_setting(text, OPTIMISERS, "optimiser")
    return optimiser


def check_optimiser(text: str) -> str:
    """Return the canonical text of an optimiser.

    Raises:
        UsageError: As `read_optimiser`.
    """
    return format_setting(read_optimiser(text), OPTIMISERS)
