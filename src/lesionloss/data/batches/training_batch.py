"""A batch in main memory, and the maps that losses need of its references."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lesionloss.data.batches.patches import Patch


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """What one step trains on.

    Attributes:
        step: Number of the step, from 1.
        images: Float32 (B, C, *size).
        references: Class numbers uint8 (B, *size).
        valid: Bool (B, *size); None where no voxel is masked.
        names: Names of the cases.
        spacing_mm: Edge lengths of a voxel for each patch (axes).
        maps: What follows from references, masks and spacing alone, by name; each (B, classes, *size).
    """

    step: int
    images: npt.NDArray[np.float32]
    references: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_] | None
    names: tuple[str, ...]
    spacing_mm: tuple[tuple[float, ...], ...]
    maps: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    MARK: ClassVar = ""  # of digests of batches that were made in main memory

    def digest(self) -> str:
        """Hash all content of the batch."""
        digest = hashlib.sha256(repr((self.step, self.names)).encode())
        for array in (self.images, self.references, self.valid):
            digest.update(b"-" if array is None else array.tobytes())
        return digest.hexdigest()[:16]

    def hashed(self) -> list[memoryview]:
        """Return what the proof of a pairing hashes: all bytes of images and references."""
        return [np.ascontiguousarray(array).data for array in (self.images, self.references)]

    def class_numbers(self) -> tuple[int, int]:
        """Return the smallest and the largest class number that counts; 0 and 0 where none does."""
        numbers = self.references if self.valid is None else self.references[self.valid]
        return (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)


MapsOf = Callable[[TrainingBatch], Mapping[str, npt.NDArray[Any]]]


def joined(
    patches: Sequence[Patch], names: tuple[str, ...], step: int, spacing_mm: tuple[tuple[float, ...], ...]
) -> TrainingBatch:
    """Return the batch of a step that these patches make."""
    valid = None if all(patch.valid.all() for patch in patches) else np.stack([patch.valid for patch in patches])
    images = np.stack([patch.image for patch in patches])
    return TrainingBatch(step, images, np.stack([patch.reference for patch in patches]), valid, names, spacing_mm)
