"""Several networks of one design as one: the mean of their probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lesionloss.networks.network_output import logits_of


class MeanNetwork(nn.Module):
    """Gives the logits (B, outputs, *space) of the mean probability of its members."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Take trained networks of one design."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.multiple = int(getattr(members[0], "multiple", 1))
        self.axes = int(getattr(members[0], "axes", 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for images (B, inputs, *space)."""
        each = [logits_of(member(x)).float() for member in self.members]
        if each[0].shape[1] > 1:
            return torch.stack([part.log_softmax(1) for part in each]).logsumexp(0)
        inside, outside = (
            torch.stack([nn.functional.logsigmoid(sign * part) for part in each]).logsumexp(0) for sign in (1, -1)
        )
        return inside - outside
