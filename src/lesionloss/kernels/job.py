"""One batch and all sums that a loss wants of it: results in one pass, and one gradient for all of them, written once.

Lesions are few: their voxels are looked up and treated apart, so that the many others, all background, need no
reference, no one-hot labels and no selection.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.kernels import background, pull, single
from lesionloss.kernels.background import Image
from lesionloss.kernels.lesions import LesionVoxels, lesion_columns, lesion_gradient, lesion_voxels, positions
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.walked import Walk, other_class


@dataclass(frozen=True)
class Engine:
    """Who finds the lesions and goes through the background voxels.

    What a gradient writes at lesion voxels does not matter: it is written over.
    """

    positions: Callable[[Tensor], Tensor]
    single_sums: Callable[[Tensor, Tensor, Tensor | None, Plan], tuple[Tensor, Tensor]]
    single_gradient: Callable[[Tensor, Tensor, Tensor | None, Plan, Tensor, Tensor], None]
    sums: Callable[[list[Image], Plan], tuple[Tensor, Tensor]]
    gradient: Callable[[Tensor, list[Image], Plan, Tensor, list[Tensor]], None]
    walk: Walk | None  # for losses of counts and cross-entropies on one logit


TORCH = Engine(
    positions,
    single.single_sums,
    pull.single_gradient,
    background.background_sums,
    background.background_gradient,
    walk=None,
)


@dataclass(frozen=True)
class Job:
    """A batch and what is wanted of it, without the logits: those are the input of the pass."""

    labels: Tensor  # (R, V) class numbers
    valid: Tensor | None  # (R, V) bool
    plan: Plan
    engine: Engine

    def sums(self, logits: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The results, (R, columns), and one number a logit that is kept, or an empty tensor."""
        rows, channels, voxels = logits.shape
        raw = raw_of(self.plan, max(2, channels))
        matrix, per_voxel = raw.matrix.numpy(), raw.per_voxel.numpy()
        bounds = _bounds(where, rows, voxels)
        lesions = np.diff(bounds)[:, None]
        valid = voxels if self.valid is None else self.valid.sum(1, keepdim=True).numpy()
        if channels == 1:
            sums, kept = self.engine.single_sums(logits[:, 0], where, self.valid, self.plan)
            mirrored = single.listed_sums(_listed(logits, where), bounds, self.plan.mirrored)
            of_lesions = mirrored @ matrix + lesions * per_voxel
            results = sums.numpy() @ matrix + (valid - lesions) * per_voxel
            results += of_lesions[:, other_class(len(per_voxel)).numpy()]
            return torch.from_numpy(results).to(logits.dtype), kept
        sums, kept = self.engine.sums(self._images(logits, where), self.plan)
        results = sums.numpy() @ matrix + (valid - lesions) * per_voxel
        for few in self._lesions(logits, where):
            columns = lesion_columns(few.voxels, self.plan)
            inside = np.searchsorted(few.row.numpy(), np.arange(rows + 1))
            for row, (low, high) in enumerate(pairwise(inside.tolist())):
                results[row] += columns[:, low:high].sum(1, dtype=torch.float64).numpy()
        return torch.from_numpy(results).to(logits.dtype), kept

    def gradient(self, logits: Tensor, weights: Tensor, where: Tensor, kept: Tensor, last: bool = False) -> Tensor:
        """d(weights · results) / d logits, given what `sums` kept; where nobody asks again, it may be written there."""
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        there = last and logits.shape[1] == 1 and kept.numel() == logits.numel()
        out = kept.view(logits.shape) if there else torch.empty_like(logits)
        of_raw = weights.double() @ raw.matrix.T
        if logits.shape[1] == 1:
            self.engine.single_gradient(kept, logits[:, 0], self.valid, self.plan, of_raw, out[:, 0])
            of_mirrored = (weights[:, other_class(len(raw.per_voxel))].double() @ raw.matrix.T).to(logits.dtype)
            bounds = _bounds(where, len(logits), logits.shape[2])
            rows = torch.from_numpy(np.repeat(np.arange(len(logits)), np.diff(bounds)))
            slopes = pull.listed_gradient(_listed(logits, where), self.plan.mirrored, of_mirrored.T[:, rows])
            out.view(-1).index_copy_(0, where, slopes.neg_())
            return out
        self.engine.gradient(kept, self._images(logits, where), self.plan, of_raw, list(out))
        for few in self._lesions(logits, where):
            slopes = lesion_gradient(few.voxels, self.plan, weights.T.contiguous().index_select(1, few.row))
            out.view(-1).scatter_(0, few.at.view(-1), slopes.reshape(-1))
        return out

    def _images(self, logits: Tensor, where: Tensor) -> list[Image]:
        """Each row, given the positions of lesion voxels in the batch."""
        rows, _, voxels = logits.shape
        return [
            Image(logits[row], None if self.valid is None else self.valid[row], where[low:high] - row * voxels)
            for row, (low, high) in enumerate(pairwise(_bounds(where, rows, voxels).tolist()))
        ]

    def _lesions(self, logits: Tensor, where: Tensor) -> Iterator["_Few"]:
        """Lesion voxels of all rows, in portions for batches where they are not few."""
        channels, voxels = logits.shape[1:]
        labels = self.labels.reshape(-1)
        channel = torch.arange(channels)[:, None]
        for some in torch.split(where, max(1, background.CHUNK // channels)) if len(where) else ():
            row = torch.div(some, voxels, rounding_mode="floor")
            at = some + (row * (channels - 1) + channel) * voxels
            few = logits.view(-1).index_select(0, at.view(-1)).view(at.shape)
            yield _Few(row, at, lesion_voxels(few, labels.index_select(0, some)))


@dataclass(frozen=True)
class _Few:
    row: Tensor  # (n,)
    at: Tensor  # (C, n): positions of their logits in the flat batch
    voxels: LesionVoxels


def _listed(logits: Tensor, where: Tensor) -> single.Errors:
    """The lesion voxels of a batch with one logit."""
    margin = logits.view(-1).index_select(0, where).neg_()
    return single.Errors(margin, torch.sigmoid(margin))


def _bounds(where: Tensor, rows: int, voxels: int) -> npt.NDArray[Any]:
    """(R + 1,): where the lesion voxels of each row begin in their list."""
    return np.searchsorted(where.numpy(), np.arange(rows + 1) * voxels)
