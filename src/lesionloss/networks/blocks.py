"""Parts that the networks share."""

import torch
from torch import Tensor, nn


class ChannelDropout(nn.Module):
    """Drops whole channels with probability `p` in training, drawing from a generator of its own.

    The trial sets `generator`; two losses of a pair then drop the same channels at the same step.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:  # (B, C, *space)
        if not self.training or self.p == 0:
            return x
        if self.generator is None:
            raise RuntimeError("ChannelDropout needs a generator in training; see networks.seed_dropout")
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))
        keep = torch.empty(shape).bernoulli_(1 - self.p, generator=self.generator)
        return x * (keep / (1 - self.p)).to(x.device, x.dtype)
