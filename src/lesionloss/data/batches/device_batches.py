"""Batches of training cases that stand on a device: drawn in main memory as all others, made on the device."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lesionloss.data.batches.augmentation import DrawnPatch, make_patch
from lesionloss.data.batches.device_cohort import DeviceCohort
from lesionloss.data.batches.device_intensity import change_batch
from lesionloss.data.batches.patch_samplers import Draws
from lesionloss.data.batches.patch_stream import PatchStream
from lesionloss.data.batches.stream import draw_batch
from lesionloss.data.batches.training_batch import TrainingBatch, joined

MOST_VOXELS = 2**22  # of patches that are made at once; a larger patch is made alone
BYTES_PER_VOXEL = 320  # of these, while they are made
BYTES_HASHED_EVERY = 100  # steps, from the first on


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """What one step trains on, on a device.

    Attributes:
        step: Number of the step, from 1.
        images: Float32 (B, C, *size), channels last in memory.
        references: Class numbers uint8 (B, *size).
        valid: Bool (B, *size); None where no voxel is masked.
        names: Names of the cases.
        drawn: Digest of the cohort and of all that was drawn.
        highest: Largest class number of these cases.
        spacing_mm: See `TrainingBatch`.
        maps: See `TrainingBatch`; in main memory.
    """

    step: int
    images: Tensor
    references: Tensor
    valid: Tensor | None
    names: tuple[str, ...]
    drawn: bytes
    highest: int
    spacing_mm: tuple[tuple[float, ...], ...]
    maps: Mapping[str, npt.NDArray[Any]]
    MARK: ClassVar = "gpu-"  # of digests, which cover something else than those of batches made in main memory

    def hashed(self) -> list[bytes]:
        """Return what the proof of a pairing hashes: what was drawn and, of the first of 100 steps, all bytes."""
        if self.step % BYTES_HASHED_EVERY != 1:
            return [self.drawn]
        return [self.drawn, *(tensor.contiguous().cpu().numpy().tobytes() for tensor in (self.images, self.references))]

    def class_numbers(self) -> tuple[int, int]:
        """Return a range that holds all class numbers that count."""
        return 0, self.highest


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """What was drawn for the patches of a step, with its digest, and what follows from their references alone.

    Attributes:
        step: Number of the step, from 1.
        patches: What was drawn.
        digest: Of these.
        spacing_mm: See `TrainingBatch`; so are `maps`.
    """

    step: int
    patches: tuple[DrawnPatch, ...]
    digest: bytes
    spacing_mm: tuple[tuple[float, ...], ...]
    maps: Mapping[str, npt.NDArray[Any]]


class DrawnStream(PatchStream[DrawnBatch]):
    """What is drawn for the batches of the steps from `start_step` on.

    Where losses need maps of the references, the references are made in main memory, too: a device would be waited for.
    """

    def _make(self, step: int) -> DrawnBatch:
        patches = tuple(draw_batch(self.cases, self.draws, self.augmentation, self.stream, step, self.batch))
        digest = hashlib.sha256()
        for part in _numbers(patches):
            digest.update(part)
        spacing_mm = tuple(self.cases[patch.window.case].spacing_mm for patch in patches)
        maps = {} if self.maps is None else self.maps(self._references(step, patches, spacing_mm))
        return DrawnBatch(step, patches, digest.digest(), spacing_mm, maps)

    def _references(
        self, step: int, drawn: Sequence[DrawnPatch], spacing_mm: tuple[tuple[float, ...], ...]
    ) -> TrainingBatch:
        """The batch without images."""
        made = []
        for patch in drawn:
            case = self.cases[patch.window.case]
            only = replace(case, image=case.image[:0], channels=())
            plain = replace(patch, changes=(), subtracted=False)
            made.append(make_patch(only, plain, self.draws.size, padding_counts=self.draws.padding_counts))
        return joined(made, tuple(patch.window.case for patch in drawn), step, spacing_mm)


def make_device_batch(cohort: DeviceCohort, draws: Draws, drawn: DrawnBatch) -> DeviceBatch:
    """Make the batch of one step on the device; its patches are those of `make_patch` up to rounding.

    Args:
        cohort: The cases.
        draws: Size of the patches, and whether padding counts.
        drawn: What was drawn for its patches.
    """
    patches = drawn.patches
    at_once = max(1, MOST_VOXELS // math.prod(draws.size))
    parts = [_part(cohort, draws, patches[first : first + at_once]) for first in range(0, len(patches), at_once)]
    images, references, masks = (list(each) for each in zip(*parts, strict=True))
    valid = None
    if any(mask is not None for mask in masks):
        every = [
            torch.ones_like(y, dtype=torch.bool) if m is None else m for y, m in zip(references, masks, strict=True)
        ]
        valid = torch.cat(every)
    names = tuple(patch.window.case for patch in patches)
    highest = max(cohort.places[name].highest for name in names)
    digest = cohort.content.encode() + drawn.digest
    both = torch.cat(images), torch.cat(references)
    return DeviceBatch(drawn.step, *both, valid, names, digest, highest, drawn.spacing_mm, drawn.maps)


def _part(cohort: DeviceCohort, draws: Draws, drawn: Sequence[DrawnPatch]) -> tuple[Tensor, Tensor, Tensor | None]:
    images, references, valid = cohort.read(drawn, draws.size, padding_counts=draws.padding_counts)
    return change_batch(images, cohort.channels, drawn) if drawn[0].subtracted else images, references, valid


def _numbers(value: object) -> Iterator[bytes]:
    """All numbers of a record, with what separates them."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, tuple):
        yield f"{len(value)}".encode()
        for each in value:
            yield from _numbers(each)
    elif is_dataclass(value):
        yield type(value).__name__.encode()
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))
    else:
        yield f" {value!r} ".encode()
