"""Some voxels of a batch, picked by a mask: listed on a CPU, and masked on a GPU, which would have to be waited for.

Values of picked voxels have the channels first: (C, n) if they are listed, (C, R, V) if they are masked.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Listed:
    """Few voxels: what is done with them costs nearly nothing."""

    where: Tensor  # (n,) sorted positions in the flat mask (R, V)
    rows: int
    voxels: int

    @cached_property
    def sizes(self) -> Tensor:
        """(R,): the number of picked voxels of each row."""
        edges = torch.arange(self.rows + 1, device=self.where.device) * self.voxels
        return torch.searchsorted(self.where, edges).diff()

    def places(self, channels: int) -> Tensor:
        """(C n,): positions of the picked voxels in the flat x, all of a channel together."""
        if channels == 1:
            return self.where
        row = torch.div(self.where, self.voxels, rounding_mode="floor")
        channel = torch.arange(channels, device=self.where.device)[:, None]
        return (self.where + (row * (channels - 1) + channel) * self.voxels).view(-1)

    def take(self, x: Tensor) -> Tensor:
        """The values of x (R, C, V) in the picked voxels; differentiable."""
        return x.reshape(-1).index_select(0, self.places(x.shape[1])).view(x.shape[1], -1)

    def put(self, x: Tensor, values: Tensor | float) -> Tensor:
        """A contiguous x (R, C, V) with other values in the picked voxels; x itself is changed."""
        flat, places = x.view(-1), self.places(x.shape[1])
        if isinstance(values, Tensor):
            flat.index_copy_(0, places, values.reshape(-1))
        else:
            flat.index_fill_(0, places, values)
        return x

    def spread(self, rows: Tensor) -> Tensor:
        """Something of each row, (R, C), for the picked voxels of that row; broadcastable to their values."""
        return rows.repeat_interleave(self.sizes, 0, output_size=len(self.where)).T

    def sums(self, values: Tensor) -> Tensor:
        """Σ over the picked voxels of each row, (R, C)."""
        return torch.stack([of_row.sum(-1) for of_row in torch.split(values, self.sizes.tolist(), dim=-1)])


@dataclass(frozen=True)
class Masked:
    """Any number of voxels: everything is computed for all, and nothing waits for a list."""

    mask: Tensor  # (R, V) bool

    def take(self, x: Tensor) -> Tensor:
        """See `Listed`."""
        return x.transpose(0, 1)

    def put(self, x: Tensor, values: Tensor | float) -> Tensor:
        """See `Listed`; x itself stays."""
        return torch.where(self.mask[:, None], values.transpose(0, 1) if isinstance(values, Tensor) else values, x)

    def spread(self, rows: Tensor) -> Tensor:
        """See `Listed`."""
        return rows.T[:, :, None]

    def sums(self, values: Tensor) -> Tensor:
        """See `Listed`."""
        return torch.where(self.mask, values, 0.0).sum(-1).T


Selection = Listed | Masked
SHORT = 4096  # so few marks are looked at one by one


def positions(marks: Tensor) -> Tensor:
    """(n,): the sorted positions of what is not 0 in a tensor of any shape, flat."""
    if marks.device.type != "cpu":
        return marks.reshape(-1).nonzero()[:, 0]
    flat = marks.reshape(-1)
    return torch.from_numpy(_positions((flat if flat.element_size() == 1 else flat != 0).contiguous().numpy()))


def _positions(marks: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Positions of bytes that are not 0, eight at a time, because where lesions are rare nearly all words are 0."""
    if marks.size % 8 or marks.size < SHORT:
        return np.flatnonzero(marks)
    words = _positions(marks.view(np.int64) != 0)
    word, byte = np.nonzero(marks.reshape(-1, 8)[words])
    return 8 * words[word] + byte


def select(marks: Tensor, where: Tensor | None = None) -> Selection:
    """The voxels where marks (R, V) are not 0; `where`: their positions, if they are known."""
    if marks.device.type != "cpu":
        return Masked(marks != 0)
    return Listed(positions(marks) if where is None else where, *marks.shape)
