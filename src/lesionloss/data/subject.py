"""What a subject is: visits, reference and brain mask on one grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.data.nifti import Affine, spacing_of
from lesionloss.errors import DataError

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Subject:
    """One case of one patient, as a dataset yields it.

    `visits` are float32 (X, Y, Z) in the order of time; `reference` marks the lesions sought, None where nobody marked
    any; `brain` is None where no mask is known; `affine` (4, 4) takes voxel indices to millimetres.
    Raises DataError if the arrays don't fit together, so whoever holds a Subject need not ask again.
    """

    name: str
    patient: str
    visits: tuple[Image, ...]
    reference: Mask | None
    brain: Mask | None
    affine: Affine

    def __post_init__(self) -> None:
        if not self.visits:
            raise DataError(f"{self.name}: a subject needs at least one visit")
        shape = self.visits[0].shape
        for index, visit in enumerate(self.visits, start=1):
            _check_array(f"{self.name}, visit {index}", visit, np.float32, shape)
            if not np.isfinite(visit).all():
                raise DataError(f"{self.name}, visit {index}: NaN or infinite voxels; replace them before use")
        for noun, mask in (("reference", self.reference), ("brain", self.brain)):
            if mask is not None:
                _check_array(f"{self.name}, {noun}", mask, np.bool_, shape)
        if self.brain is not None and not self.brain.any():
            raise DataError(f"{self.name}: the brain mask is empty; supply one that marks the brain")
        if self.reference is not None and self.reference.all():
            raise DataError(f"{self.name}: the reference marks every voxel as lesion; is it inverted?")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all() or np.linalg.det(self.affine) == 0:
            raise DataError(f"{self.name}: the affine must be an invertible 4 x 4 matrix")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel."""
        return spacing_of(self.affine)


def _check_array(what: str, array: npt.NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.ndim != 3 or array.shape != shape:
        raise DataError(f"{what}: expected three axes and the shape of the first visit {shape}, got {array.shape}")
    if array.dtype != dtype:
        raise DataError(f"{what}: expected {np.dtype(dtype).name} voxels, got {array.dtype}")
