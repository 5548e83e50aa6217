"""DICOM series read with SimpleITK and checked before they are used.

A series is named by its folder or, where a folder holds several, by FOLDER#SERIES: the number of the series or a part
of its description. Voxels and their place are all that is taken: nothing else of a header is kept or written.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.core.files import sha256_of
from lesionloss.data.dicom_headers import DicomSlice, import_simpleitk, kept_locale, last_line, one_series
from lesionloss.data.nifti_bytes import checked_affine
from lesionloss.data.volume import Affine, Volume

# Positions are written with few digits.
TOLERANCE_MM, TOLERANCE_SHARE = 0.02, 0.01
ALIKE = 1e-3  # of directions and of pixel spacing
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM's axes run to the left, to the back and to the top


def read_series(path: Path) -> Volume[np.float32]:
    """Read a series as one volume; the values are those of the scanner (rescale slope and intercept are applied).

    Args:
        path: FOLDER or FOLDER#SERIES.

    Returns:
        The image float32 (X, Y, Z) with its affine.

    Raises:
        DataError: The folder holds no series or several; images lack, lie unevenly, differ in size or direction, or
            can't be read.
    """
    slices, affine = _ordered(path)
    simpleitk = import_simpleitk()
    reader = simpleitk.ImageSeriesReader()
    reader.SetFileNames([str(each.path) for each in slices])
    reader.SetOutputPixelType(simpleitk.sitkFloat32)  # slices may have different scales
    try:
        with kept_locale():
            array = simpleitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise DataError(f"{path}: an image can't be read ({last_line(error)}); copy the series again") from error
    array = np.ascontiguousarray(array.transpose(2, 1, 0))
    if not np.isfinite(array).all():
        raise DataError(f"{path}: voxels are NaN or infinite; export the series again")
    return Volume(array, affine, path)


def read_series_grid(path: Path) -> Volume[np.float32]:
    """Read where the voxels of a series lie, without their values.

    Raises:
        DataError: As `read_series`.
    """
    slices, affine = _ordered(path)
    return Volume(np.broadcast_to(np.float32(0), (*slices[0].shape[:2], len(slices))), affine, path)


def series_digest(path: Path) -> str:
    """Return a digest of all files of a series.

    Raises:
        DataError: The folder holds no series or several.
    """
    digests = sorted(sha256_of(each.path) for each in one_series(path))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _ordered(path: Path) -> tuple[list[DicomSlice], Affine]:
    """The images of a series in their order in space, and the affine from voxel indices to millimetres."""
    slices = one_series(path)
    _check_alike(path, slices)
    row, column = np.reshape(slices[0].directions, (2, 3))
    normal = np.cross(row, column)
    ordered = sorted(slices, key=lambda each: float(np.dot(each.position, normal)))
    steps = np.diff([each.position for each in ordered], axis=0)
    _check_steps(path, ordered, steps)
    place = np.eye(4)
    place[:3, 0], place[:3, 1] = row * ordered[0].spacing[0], column * ordered[0].spacing[1]
    place[:3, 2], place[:3, 3] = steps.mean(axis=0), ordered[0].position
    affine = TO_RAS @ place
    checked_affine(path, Volume(np.empty((0, 0, 0)), affine, path))
    return ordered, affine


def _check_alike(path: Path, slices: Sequence[DicomSlice]) -> None:
    """Raise DataError where the images are not the slices of one volume of plain numbers."""
    first = slices[0]
    for each in slices:
        if len(each.shape) > 2 and each.shape[2] > 1:
            wrong = f"holds {each.shape[2]} frames (enhanced DICOM), whose places are not read"
        elif not (each.position and each.directions and each.spacing):
            wrong = "has no position, orientation or pixel spacing (enhanced DICOM, or a screenshot?)"
        elif each.interpretation != "MONOCHROME2":
            wrong = f"is {each.interpretation or 'of an unknown kind'}, expected MONOCHROME2"
        elif each.shape != first.shape or not np.allclose(each.spacing, first.spacing, atol=ALIKE):
            wrong = f"has another size or pixel spacing than {first.path.name}"
        elif not np.allclose(each.directions, first.directions, atol=ALIKE):
            wrong = f"has another orientation than {first.path.name} (a localiser?)"
        else:
            continue
        raise DataError(f"{path}: {each.path.name} {wrong}; name a folder of one volume, or convert it with dcm2niix")
    if len(slices) < 2:
        raise DataError(f"{path}: one image only; a volume has several slices")


def _check_steps(path: Path, ordered: Sequence[DicomSlice], steps: Any) -> None:
    """Raise DataError where slices lack, stand twice or lie unevenly."""
    usual = np.median(steps, axis=0)
    gaps, step = np.linalg.norm(steps, axis=1), float(np.linalg.norm(usual))
    least = int(gaps.argmin())
    if gaps[least] <= TOLERANCE_MM:
        pair = f"{ordered[least].path.name} and {ordered[least + 1].path.name}"
        raise DataError(f"{path}: {pair} show the same place (several echoes or times?); keep one image of each place")
    off = np.linalg.norm(steps - usual, axis=1)
    worst = int(off.argmax())
    if off[worst] > max(TOLERANCE_MM, TOLERANCE_SHARE * step):
        raise DataError(
            f"{path}: {ordered[worst].path.name} and {ordered[worst + 1].path.name} lie {gaps[worst]:.4g} mm apart, "
            f"most others {step:.4g} mm: a slice is missing, or the spacing varies; export the whole series again"
        )
