"""A subject: visits, reference and masks on one grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.data.volume import Affine, check_right_angles, spacing_of

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

LESION = ("lesion",)  # the classes of a set with lesions and background only


@dataclass(frozen=True, eq=False)
class Subject:
    """One case of one patient, as a data set holds it; *space is X, Y, Z or, for a picture, X, Y.

    Attributes:
        name: Name of the case.
        patient: Name of the patient.
        visits: Intensities float32 (C, *space) in the order of time, C contrasts in the order of the layout.
        reference: Class numbers uint8 (*space): 0 background, then the `classes` in their order; None for no reference.
        brain: Brain mask (*space), None where none is known.
        affine: Voxel indices to millimetres (4, 4); of pictures the pixel spacing on its diagonal.
        ignore: Voxels that are neither lesion nor background (*space), None for none.
        classes: Names of the lesion classes.

    Raises:
        DataError: The arrays don't fit together.
    """

    name: str
    patient: str
    visits: tuple[Image, ...]
    reference: Labels | None
    brain: Mask | None
    affine: Affine
    ignore: Mask | None = None
    classes: tuple[str, ...] = LESION

    def __post_init__(self) -> None:
        """Check that the arrays fit together, so that no user of a subject has to."""
        if not self.visits:
            raise DataError(f"{self.name}: a subject needs at least one visit")
        shape = self.visits[0].shape
        for index, visit in enumerate(self.visits, start=1):
            _check_visit(f"{self.name}, visit {index}", visit, shape)
        for noun, mask in (("brain", self.brain), ("ignore", self.ignore)):
            if mask is not None:
                _check_array(f"{self.name}, {noun}", mask, np.bool_, shape[1:])
        if self.brain is not None and not self.brain.any():
            raise DataError(f"{self.name}: the brain mask is empty; supply one that marks the brain")
        if self.reference is not None:
            _check_array(f"{self.name}, reference", self.reference, np.uint8, shape[1:])
            _check_classes(self.name, self.reference, self.classes)
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all() or np.linalg.det(self.affine) == 0:
            raise DataError(f"{self.name}: the affine must be an invertible 4 x 4 matrix")
        check_right_angles(self.affine, self.name)

    @property
    def space(self) -> tuple[int, ...]:
        """X, Y, Z or X, Y."""
        return self.visits[0].shape[1:]

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Edge lengths of a voxel, one per axis of space."""
        return spacing_of(self.affine)[: len(self.space)]

    @property
    def lesion(self) -> Mask | None:
        """Where the reference marks any class."""
        return None if self.reference is None else self.reference > 0


def _check_visit(what: str, visit: Image, shape: tuple[int, ...]) -> None:
    if visit.ndim not in (3, 4) or visit.shape != shape:
        raise DataError(
            f"{what}: expected contrasts and two or three axes of space, and the shape of the first visit {shape}, "
            f"got {visit.shape}"
        )
    if visit.dtype != np.float32:
        raise DataError(f"{what}: expected float32 voxels, got {visit.dtype}")
    if not np.isfinite(visit).all():
        raise DataError(f"{what}: NaN or infinite voxels; replace them before use")


def _check_array(what: str, array: npt.NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise DataError(f"{what}: expected the shape of the visits {shape}, got {array.shape}")
    if array.dtype != dtype:
        raise DataError(f"{what}: expected {np.dtype(dtype).name} voxels, got {array.dtype}")


def _check_classes(name: str, reference: Labels, classes: tuple[str, ...]) -> None:
    highest = int(reference.max())
    if highest > len(classes):
        raise DataError(f"{name}: the reference holds class {highest}, but there are only {', '.join(classes)}")
    if int(reference.min()) > 0:
        raise DataError(f"{name}: the reference marks every voxel as lesion; is it inverted?")
