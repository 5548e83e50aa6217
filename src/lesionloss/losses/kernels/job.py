"""One batch and all sums that a loss wants of it: results in one pass, and one gradient for all of them, written once.

Lesions are few: their voxels are looked up and treated apart, so that the many others, all background, need no
reference, no one-hot labels and no selection.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.losses.input_checks import refuse_logits
from lesionloss.losses.kernels import background, pull, single
from lesionloss.losses.kernels.background import Image
from lesionloss.losses.kernels.lesions import (
    Found,
    LesionVoxels,
    find_lesions,
    lesion_columns,
    lesion_gradient,
    lesion_voxels,
    places,
)
from lesionloss.losses.kernels.plan import Plan, raw_of
from lesionloss.losses.kernels.walked import Walk, other_class


@dataclass(frozen=True)
class Engine:
    """Who finds the lesions and goes through the background voxels.

    What a gradient writes at lesion voxels does not matter: it is written over. Sums are NaN in rows whose logits are
    not all finite.
    """

    find: Callable[[Tensor], Found]
    single_sums: Callable[[Tensor, Tensor, Tensor | None, Plan], tuple[Tensor, Tensor]]
    single_gradient: Callable[[Tensor, Tensor, Tensor | None, Plan, Tensor, Tensor], None]
    sums: Callable[[list[Image], Plan], tuple[Tensor, Tensor]]
    gradient: Callable[[Tensor, list[Image], Plan, Tensor, list[Tensor]], None]
    walk: Walk | None  # for losses of counts and cross-entropies on one logit


TORCH = Engine(
    find_lesions,
    single.single_sums,
    pull.single_gradient,
    background.background_sums,
    background.background_gradient,
    walk=None,
)


class Kept(NamedTuple):
    """What one pass leaves for the other."""

    numbers: Tensor  # one for each logit, or empty
    bounds: npt.NDArray[Any]  # (R + 1,): where the lesion voxels of each row begin in their list
    margin: Tensor | None  # of the lesion voxels, where there is one logit a voxel


@dataclass(frozen=True)
class Job:
    """A batch and what is wanted of it, without the logits: those are the input of the pass."""

    labels: Tensor  # (R, V) class numbers
    valid: Tensor | None  # (R, V) bool
    plan: Plan
    engine: Engine

    def sums(self, logits: Tensor, where: Tensor) -> tuple[Tensor, Kept]:
        """The results, (R, columns), and what the gradient will need.

        Raises DataError for logits that are not finite.
        """
        rows, channels, voxels = logits.shape
        raw = raw_of(self.plan, max(2, channels))
        matrix, per_voxel = raw.matrix.numpy(), raw.per_voxel.numpy()
        bounds = _bounds(where, rows, voxels)
        lesions = np.diff(bounds)[:, None]
        valid = voxels if self.valid is None else self.valid.sum(1, keepdim=True).numpy()
        if channels == 1:
            margin = _margins(logits, where)
            sums, numbers = self.engine.single_sums(logits[:, 0], where, self.valid, self.plan)
            _refuse_nan(sums, logits)
            mirrored = single.listed_sums(single.listed_errors(margin), bounds, self.plan.mirrored)
            of_lesions = mirrored @ matrix + lesions * per_voxel
            results = sums.numpy() @ matrix + (valid - lesions) * per_voxel
            results += of_lesions[:, other_class(len(per_voxel)).numpy()]
            return _like(results, logits), Kept(numbers, bounds, margin)
        sums, numbers = self.engine.sums(self._images(logits, where, bounds), self.plan)
        _refuse_nan(sums, logits)
        results = sums.numpy() @ matrix + (valid - lesions) * per_voxel
        for few in self._lesions(logits, where):
            columns = lesion_columns(few.voxels, self.plan)
            inside = np.searchsorted(few.row.numpy(), np.arange(rows + 1))
            for row, (low, high) in enumerate(pairwise(inside.tolist())):
                results[row] += columns[:, low:high].sum(1, dtype=torch.float64).numpy()
        return _like(results, logits), Kept(numbers, bounds, None)

    def gradient(self, logits: Tensor, weights: Tensor, where: Tensor, kept: Kept, last: bool = False) -> Tensor:
        """d(weights · results) / d logits, given what `sums` kept; where nobody asks again, it may be written there."""
        raw = raw_of(self.plan, max(2, logits.shape[1]))
        numbers = kept.numbers
        there = last and logits.shape[1] == 1 and numbers.numel() == logits.numel()
        out = numbers.view(logits.shape) if there else torch.empty_like(logits)
        matrix, of_results = raw.matrix.numpy(), weights.numpy().astype(np.float64)
        of_raw = torch.from_numpy(of_results @ matrix.T)
        if logits.shape[1] == 1:
            margin = _margins(logits, where) if kept.margin is None else kept.margin
            self.engine.single_gradient(numbers, logits[:, 0], self.valid, self.plan, of_raw, out[:, 0])
            of_mirrored = _like(of_results[:, other_class(len(raw.per_voxel)).numpy()] @ matrix.T, logits)
            of_voxels = torch.from_numpy(np.repeat(of_mirrored.numpy().T, np.diff(kept.bounds), axis=1))
            slopes = pull.listed_gradient(single.listed_errors(margin), self.plan.mirrored, of_voxels)
            out.view(-1).numpy()[where.numpy()] = slopes.neg_().numpy()  # NumPy scatters three times as quickly
            return out
        self.engine.gradient(numbers, self._images(logits, where, kept.bounds), self.plan, of_raw, list(out))
        for few in self._lesions(logits, where):
            slopes = lesion_gradient(few.voxels, self.plan, weights.T.contiguous().index_select(1, few.row))
            out.view(-1).scatter_(0, few.at.view(-1), slopes.reshape(-1))
        return out

    def listed(self, logits: Tensor, where: Tensor) -> Tensor:
        """The logits of lesion voxels, (n, C)."""
        at = places(where, *logits.shape[1:])
        return torch.from_numpy(logits.view(-1).numpy()[at.T.numpy()])

    def add_listed(self, gradient: Tensor, where: Tensor, of_listed: Tensor) -> None:
        """Add d value / d `listed` to a gradient of the logits, in its place."""
        at = places(where, *gradient.shape[1:])
        gradient.view(-1).numpy()[at.T.numpy()] += of_listed.numpy()

    def _images(self, logits: Tensor, where: Tensor, bounds: npt.NDArray[Any]) -> list[Image]:
        """Each row, given the positions of lesion voxels in the batch."""
        voxels = logits.shape[2]
        return [
            Image(logits[row], None if self.valid is None else self.valid[row], where[low:high] - row * voxels)
            for row, (low, high) in enumerate(pairwise(bounds.tolist()))
        ]

    def _lesions(self, logits: Tensor, where: Tensor) -> Iterator["_Few"]:
        """Lesion voxels of all rows, in portions for batches where they are not few."""
        channels, voxels = logits.shape[1:]
        labels = self.labels.reshape(-1)
        for some in torch.split(where, max(1, background.CHUNK // channels)) if len(where) else ():
            at = places(some, channels, voxels)
            row = torch.div(some, voxels, rounding_mode="floor")
            few = logits.view(-1).index_select(0, at.view(-1)).view(at.shape)
            yield _Few(row, at, lesion_voxels(few, labels.index_select(0, some)))


@dataclass(frozen=True)
class _Few:
    row: Tensor  # (n,)
    at: Tensor  # (C, n): positions of their logits in the flat batch
    voxels: LesionVoxels


def _like(numbers: npt.NDArray[Any], logits: Tensor) -> Tensor:
    return torch.from_numpy(numbers.astype(logits.numpy().dtype))


def _refuse_nan(sums: Tensor, logits: Tensor) -> None:
    if np.isnan(sums.numpy()).any():
        refuse_logits(logits)


def _margins(logits: Tensor, where: Tensor) -> Tensor:
    """Of the lesion voxels of a batch with one logit."""
    return torch.from_numpy(logits.view(-1).numpy()[where.numpy()]).neg_()


def _bounds(where: Tensor, rows: int, voxels: int) -> npt.NDArray[Any]:
    return np.searchsorted(where.numpy(), np.arange(rows + 1) * voxels)
