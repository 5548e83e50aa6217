"""One image in memory, its place in millimetres, and whether two images share one grid."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError

Voxel = TypeVar("Voxel", bound=np.generic)
Affine = npt.NDArray[np.float64]

GRID_TOLERANCE_MM = 1e-3
# Beyond this departure from right angles, distances and volumes from edge lengths would be wrong (at 0.1 degrees, by
# 0.2 % at most), and SimpleITK would misplace voxels.
SHEAR_LIMIT_DEGREES = 0.1


@dataclass(frozen=True, eq=False)
class Volume(Generic[Voxel]):
    """One image or mask (X, Y, Z) with the affine (4, 4) that takes voxel indices to millimetres.

    Attributes:
        array: The voxels.
        affine: Voxel indices to millimetres.
        path: The file.
        qform: A second, different affine that the header holds beside `affine`, None for none.
        placed: Whether the header says where the voxels lie; if not, `affine` is a guess.
    """

    array: npt.NDArray[Voxel]
    affine: Affine
    path: Path
    qform: Affine | None = None
    placed: bool = True

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel."""
        return spacing_of(self.affine)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Compute the edge lengths of a voxel: the lengths of the affine's columns.

    Args:
        affine: Voxel indices to millimetres (4, 4).

    Returns:
        Edge lengths in mm.
    """
    x, y, z = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return x, y, z


def check_right_angles(affine: Affine, what: str) -> None:
    """Check that the axes of an affine (4, 4) are at right angles, to within 0.1 degrees.

    Raises:
        DataError: They are not; begins with `what`.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosine = float(np.abs(directions.T @ directions - np.eye(3)).max())
    shear = float(np.degrees(np.arcsin(min(cosine, 1.0))))
    if shear > SHEAR_LIMIT_DEGREES:
        raise DataError(
            f"{what}: the affine is sheared: its axes are {shear:.3g} degrees off right angles, allowed are "
            f"{SHEAR_LIMIT_DEGREES:g} (gantry tilt, or an affine registration in the header?); resample onto a plain "
            "grid, e.g. nibabel.processing.resample_to_output, masks with order=0"
        )


def orientation(affine: Affine) -> str:
    """Name the directions of an image's axes, e.g. RAS: to the right, to the front, to the top.

    Args:
        affine: Voxel indices to millimetres (4, 4).

    Returns:
        Three letters.
    """
    import nibabel

    untyped: Any = nibabel
    return "".join(str(code) for code in untyped.aff2axcodes(affine))


def same_grid(a: Volume[Any], b: Volume[Any], tolerance_mm: float = GRID_TOLERANCE_MM) -> None:
    """Check that two volumes share one grid.

    Raises:
        DataError: Their shapes differ, or corresponding corner voxels lie more than `tolerance_mm` apart.
    """
    distance = corner_distance_mm(a, b)
    if a.array.shape == b.array.shape and distance <= tolerance_mm:
        return
    cause = _cause_in_header(a, b, tolerance_mm)
    if cause:
        raise DataError(f"{a.path} and {b.path} are not on one grid: {cause}")
    turned = _turned(a, b, tolerance_mm)
    if turned:
        raise DataError(
            f"{a.path} and {b.path} are not on one grid: both cover the same place, but {b.path.name} is stored "
            f"{turned} (orientations {orientation(a.affine)} and {orientation(b.affine)}, corners up to "
            f"{distance:.4g} mm apart); reorient one, array and header together, and save it again"
        )
    raise DataError(
        f"{a.path} and {b.path} are not on one grid: shapes {a.array.shape} and {b.array.shape}, "
        f"orientations {orientation(a.affine)} and {orientation(b.affine)}, corners up to {distance:.4g} mm apart "
        f"(allowed: {tolerance_mm:g}); resample or reorient one onto the grid of the other, masks by nearest neighbour"
    )


def corner_distance_mm(a: Volume[Any], b: Volume[Any]) -> float:
    """Compute the largest distance between corresponding corner voxels."""
    return float(np.linalg.norm(_corners(a) - _corners(b), axis=1).max())


def _cause_in_header(a: Volume[Any], b: Volume[Any], tolerance_mm: float) -> str:
    """Say which header is to blame where the voxels may be on one grid all the same; empty if none is."""
    if a.array.shape != b.array.shape:
        return ""
    lost = [volume.path for volume in (a, b) if not volume.placed]
    if lost:
        return (
            f"{' and '.join(map(str, lost))} has no orientation in its header (qform and sform codes are 0); if both "
            "show the same place, copy qform and sform from the file that the image was made from"
        )
    for volume, other in ((a, b), (b, a)):
        if volume.qform is not None and any(
            corner_distance_mm(Volume(volume.array, volume.qform, volume.path), Volume(other.array, form, other.path))
            <= tolerance_mm
            for form in (other.affine, other.qform)
            if form is not None
        ):
            return (
                f"qform and sform of {volume.path} differ, and by its qform it would be; the sform is used here: "
                "find out which is right and set both alike"
            )
    return ""


def _turned(a: Volume[Any], b: Volume[Any], tolerance_mm: float) -> str:
    """Say how b's axes must be permuted and flipped to give a's grid; empty if more than that differs."""
    between = np.linalg.inv(a.affine) @ b.affine
    steps = np.rint(between[:3, :3])
    if not np.array_equal(np.abs(steps).sum(0), np.ones(3)) or not np.array_equal(np.abs(steps).sum(1), np.ones(3)):
        return ""
    order = np.abs(steps).argmax(0)
    if tuple(a.array.shape[axis] for axis in order) != b.array.shape:
        return ""
    mine, theirs = (np.sort(_corners(volume).round(2), axis=0) for volume in (a, b))
    if float(np.abs(mine - theirs).max()) > max(tolerance_mm, 0.02):
        return ""
    permuted = [] if np.array_equal(order, np.arange(3)) else [f"with its axes permuted to {order.tolist()}"]
    flipped = [str(axis) for axis in range(3) if steps[:, axis].sum() < 0]
    return " and ".join([*permuted, *([f"flipped along axis {', '.join(flipped)}"] if flipped else [])])


def _corners(volume: Volume[Any]) -> Affine:
    indices = itertools.product(*((0, length - 1) for length in volume.array.shape))
    homogeneous = np.array([(*index, 1) for index in indices], dtype=np.float64)
    return (homogeneous @ volume.affine.T)[:, :3]
