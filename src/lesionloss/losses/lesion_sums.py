"""Sums over the voxels of each lesion or of its region, for losses that count lesions alike."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from lesionloss.losses.input_checks import may_look
from lesionloss.losses.kernels.requests import LINEAR
from lesionloss.losses.kernels.selection import positions
from lesionloss.losses.voxels import Voxels


@dataclass(frozen=True)
class Members:
    """Voxels and the lesions that they belong to.

    Attributes:
        where: (n,) positions in a flat (R, L, V); None: all, (R·L·V,).
        slot: (n,) the place of each one's lesion in a flat table (R, L, width); number 0 is no lesion.
        table: the shape (R, L, width).
    """

    where: Tensor | None
    slot: Tensor
    table: tuple[int, int, int]

    def take(self, x: Tensor) -> Tensor:
        """The values of x (R, L, V) in these voxels, (n,)."""
        return x.reshape(-1) if self.where is None else x.reshape(-1)[self.where]

    def sums(self, values: Tensor) -> Tensor:
        """Σ of values (n,) over each lesion, (R, L, lesions)."""
        return values.new_zeros(math.prod(self.table)).index_add(0, self.slot, values).view(self.table)[..., 1:]

    def largest(self, values: Tensor) -> Tensor:
        """The largest of values (n,) in each lesion, (R, L, lesions), without gradient; -inf where there is none."""
        table = values.new_full((math.prod(self.table),), -torch.inf)
        return table.scatter_reduce(0, self.slot, values.detach(), "amax").view(self.table)[..., 1:]

    def spread(self, of_lesions: Tensor) -> Tensor:
        """Something of each lesion, (R, L, lesions), for each of its voxels, (n,); 0 for no lesion."""
        return torch.nn.functional.pad(of_lesions, (1, 0)).reshape(-1)[self.slot]


@dataclass(frozen=True)
class Lesions:
    """The lesions of the reference. `lesions` is their largest number; those of an image are the first ones.

    Attributes:
        members: the voxels of the lesions.
        ce: (n,) -log p of their own class.
        weight: (n,) their weights.
        size: (R, L, lesions) sums of the weights; 0 where there is no lesion.
    """

    v: Voxels
    members: Members
    ce: Tensor
    weight: Tensor
    size: Tensor

    def sums(self, values: Tensor) -> Tensor:
        """Weighted sum of values (n,) over each lesion, (R, L, lesions)."""
        return self.members.sums(self.weight * values)

    def total(self, of_lesions: Tensor) -> Tensor:
        """Sum (R, L, lesions) over the lesions of each image: (I, L)."""
        return self.v.pool(torch.where(self.size > 0, of_lesions, 0.0).sum(-1))

    @property
    def count(self) -> Tensor:
        """(I, L): the number of lesions."""
        return self.total(torch.ones_like(self.size))

    def mean(self, of_lesions: Tensor, without: Tensor) -> Tensor:
        """Mean (R, L, lesions) over the lesions of each image, or `without` (I, L) where there is none: (I, L)."""
        return torch.where(self.count > 0, self.total(of_lesions) / self.count.clamp_min(1.0), without)


def weights_of(v: Voxels) -> Tensor:
    """The weight of each voxel for each lesion class, 0 where it is masked: (R, L, V)."""
    if v.weight is not None:
        weight = v.weight
    else:
        weight = torch.ones_like(v.logits[:, 0]) if v.valid is None else v.valid.to(v.logits.dtype)
    return weight.detach()[:, None].expand(-1, v.classes - 1, -1)


def all_members(v: Voxels, numbers: Tensor) -> Members:
    """All voxels, by their numbers (R, L, V)."""
    rows, classes, _ = numbers.shape
    if may_look(v.logits, numbers):
        width = int(numbers.amax()) + 1
    else:  # as many as can lie apart in the image, if voxels that touch at a corner are of one lesion
        width = math.prod([(side + 1) // 2 for side in v.space]) + 1
    row = torch.arange(rows * classes, device=numbers.device).view(rows, classes, 1)
    return Members(None, (row * width + numbers).reshape(-1), (rows, classes, width))


def members(v: Voxels, numbers: Tensor, width: int | None = None) -> Members:
    """The voxels whose numbers (R, L, V) are not 0; `width`: of another table, with which theirs shall fit.

    Where that would mean waiting for a GPU, all voxels.
    """
    if not may_look(v.logits, numbers):
        return all_members(v, numbers)
    rows, classes, voxels = numbers.shape
    flat, where = numbers.reshape(-1), positions(numbers)
    width = width or int(flat.amax()) + 1
    row = torch.div(where, voxels, rounding_mode="floor")
    return Members(where, row * width + flat[where], (rows, classes, width))


def lesions(v: Voxels, numbers: Tensor, width: int | None = None) -> Lesions:
    """The lesions whose voxels have these numbers (R, L, V); see `members`."""
    found = members(v, numbers, width)
    weight = found.take(weights_of(v))
    return Lesions(v, found, _cross_entropy(v, found), weight, found.sums(weight))


def _cross_entropy(v: Voxels, found: Members) -> Tensor:
    if found.where is None or v.soft:
        ce = v.per_voxel(v.cross_entropy)[:, None]
        return found.take(ce.expand(-1, v.classes - 1, -1))
    voxels = v.logits.shape[-1]
    row = torch.div(found.where, voxels * (v.classes - 1), rounding_mode="floor")
    z = v.logits_at(row * voxels + found.where % voxels)
    if z.shape[1] == 1:
        return softplus(-z[:, 0], threshold=LINEAR)
    number = torch.div(found.where, voxels, rounding_mode="floor") % (v.classes - 1) + 1
    return cross_entropy(z, number, reduction="none")
