"""Optimisers by text: `adam`, `adamw(weight_decay=0.05)`, `sgd(momentum=0.99, nesterov=True)`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch
from torch import nn

from lesionloss.core.ranges import Range
from lesionloss.training.setting_texts import format_record, read_record

Decay = Annotated[float, Range(0)]
Beta = Annotated[float, Range(0, 0.999999)]
Epsilon = Annotated[float, Range(0, above=True)]


class Optimiser(Protocol):
    """Anything that makes a torch optimiser."""

    def over(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """The optimiser of these parameters, at this learning rate."""
        ...


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015; `beta1` and `beta2` are the paper's, `weight_decay` is added to the gradient."""

    beta1: Beta = 0.9
    beta2: Beta = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Decay = 0.0

    def over(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(parameters, lr=rate, betas=betas, eps=self.epsilon, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class AdamW:
    """Loshchilov & Hutter 2019: Adam with the decay of the weights beside the gradient."""

    beta1: Beta = 0.9
    beta2: Beta = 0.999
    epsilon: Epsilon = 1e-8
    weight_decay: Decay = 0.01

    def over(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(parameters, lr=rate, betas=betas, eps=self.epsilon, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum; nnU-Net: momentum 0.99 with Nesterov, weight decay 3e-5."""

    momentum: Beta = 0.9
    nesterov: bool = False
    weight_decay: Decay = 0.0

    def over(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(
            parameters, lr=rate, momentum=self.momentum, nesterov=nesterov, weight_decay=self.weight_decay
        )


KINDS: Mapping[str, type[Any]] = {"adam": Adam, "adamw": AdamW, "sgd": Sgd}


def read_optimiser(text: str) -> Optimiser:
    """The optimiser that `text` names. Raises UsageError with what is known and allowed."""
    optimiser: Optimiser = read_record(text, KINDS, "optimiser")
    return optimiser


def check_optimiser(text: str) -> str:
    """The canonical text of an optimiser. Raises UsageError as `read_optimiser` does."""
    return format_record(read_optimiser(text), KINDS)
