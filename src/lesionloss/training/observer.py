"""Looking at a network while it is trained: nothing of the training may depend on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

Seen = list[dict[str, Any]]


@dataclass(frozen=True)
class Looking:
    """After every so many steps, `see(network, step)` gives rows of plain values; checkpoints keep them.

    The network is in evaluation mode meanwhile, and is put back into training.
    """

    every_steps: int
    see: Callable[[nn.Module, int], Seen]

    def after(self, network: nn.Module, step: int) -> Seen:
        """The rows of a step; none where it is not due."""
        if step % self.every_steps:
            return []
        network.eval()
        try:
            return self.see(network, step)
        finally:
            network.train()
