"""Observe a network while it is trained; nothing in the training run may depend on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

ObservedRows = list[dict[str, Any]]


@dataclass(frozen=True)
class TrainingObserver:
    """Calls `observe(network, step)` regularly; checkpoints keep the rows of plain values that it returns.

    The network is in evaluation mode meanwhile and is put back into training mode.
    """

    every_steps: int
    observe: Callable[[nn.Module, int], ObservedRows]

    def after(self, network: nn.Module, step: int) -> ObservedRows:
        """Return the rows of a step; none where it is not due."""
        if step % self.every_steps:
            return []
        network.eval()
        try:
            return self.observe(network, step)
        finally:
            network.train()
