"""Batches made in main memory for a GPU: a thread hashes and pins them one ahead, so that the main thread need not."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lesionloss.data.batches.device_batches import DeviceBatch
from lesionloss.data.batches.training_batch import TrainingBatch


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """A batch in pinned memory, from which a GPU can copy it while the host goes on.

    Attributes:
        step: Number of the step, from 1.
        images: Float32 (B, C, *size).
        references: Class numbers uint8 (B, *size).
        valid: Bool (B, *size); None where no voxel is masked.
        names: Names of the cases.
        numbers: Smallest and largest class number that counts.
        spacing_mm: See `TrainingBatch`.
        maps: See `TrainingBatch`; pinned.
        digests: The digest of all batches before this one, and of all up to it.
    """

    step: int
    images: Tensor
    references: Tensor
    valid: Tensor | None
    names: tuple[str, ...]
    numbers: tuple[int, int]
    spacing_mm: tuple[tuple[float, ...], ...]
    maps: Mapping[str, Tensor]
    digests: tuple[str, str]
    MARK: ClassVar = TrainingBatch.MARK

    def hashed(self) -> list[memoryview]:
        """See `TrainingBatch.hashed`."""
        return [tensor.numpy().data for tensor in (self.images, self.references)]

    def class_numbers(self) -> tuple[int, int]:
        """See `TrainingBatch.class_numbers`."""
        return self.numbers


AnyBatch = TrainingBatch | LoadedBatch | DeviceBatch


def digest_after(before: str, batch: AnyBatch) -> str:
    """Return the digest of all batches up to this one, given that of all before it."""
    digest = hashlib.sha256(before.encode())
    for part in batch.hashed():
        digest.update(part)
    return batch.MARK + digest.hexdigest()


def load_ahead(batches: Iterator[TrainingBatch], before: str) -> Generator[LoadedBatch, None, None]:
    """Hash and pin batches in a thread, one ahead.

    Args:
        batches: The batches.
        before: Digest of all batches before the first.
    """
    with ThreadPoolExecutor(1, "loading") as pool:
        coming = pool.submit(_loaded, batches, before)
        while True:
            loaded = coming.result()
            coming = pool.submit(_loaded, batches, loaded.digests[1])
            yield loaded


def _loaded(batches: Iterator[TrainingBatch], before: str) -> LoadedBatch:
    batch = next(batches)
    images, references = (torch.from_numpy(array).pin_memory() for array in (batch.images, batch.references))
    valid = None if batch.valid is None else torch.from_numpy(batch.valid).pin_memory()
    maps = {name: torch.from_numpy(given).pin_memory() for name, given in batch.maps.items()}
    digests = (before, digest_after(before, batch))
    about = (batch.names, batch.class_numbers(), batch.spacing_mm)
    return LoadedBatch(batch.step, images, references, valid, *about, maps, digests)
