"""NIfTI files read and written; a file is checked before its content is used."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.core.files import atomic_file
from lesionloss.data.dicom import read_series, read_series_grid
from lesionloss.data.dicom_headers import is_series
from lesionloss.data.nifti_bytes import FARTHEST_MM, checked_affine, checked_bytes, import_nibabel, parse_image
from lesionloss.data.volume import Affine, Volume, corner_distance_mm, orientation

MASK_TOLERANCE = 1e-3
# qform and sform that differ by less are one, stored with different rounding.
FORMS_APART_MM = 0.1


def read_volume(path: Path) -> Volume[np.float32]:
    """Read an image; a trailing axis of length one is dropped.

    Args:
        path: A .nii or .nii.gz file, or a DICOM series (FOLDER or FOLDER#SERIES).

    Returns:
        The image float32 (X, Y, Z) with its affine.

    Raises:
        DataError: The file is missing, truncated, damaged or not NIfTI; the image is not three-dimensional, holds NaN,
            infinite or only equal values, or has an affine that can't be inverted. Names the file and the remedy.
            Of a series, see `dicom.read_series`.
    """
    volume = read_series(path) if is_series(path) else _read(path, np.float32)
    if volume.array.min() == volume.array.max():
        value = float(volume.array.flat[0])
        raise DataError(f"{path}: every voxel is {value:g}: an empty or failed export; export the image again")
    return volume


def read_grid(path: Path) -> Volume[np.float32]:
    """Read where the voxels of an image lie, without their values; the file is not checked.

    Args:
        path: A file that nibabel reads, or a DICOM series.

    Returns:
        The affine, with an array of zeros of the image's shape.

    Raises:
        DataError: A series can't be used.
    """
    if is_series(path):
        return read_series_grid(path)
    from nibabel.loadsave import load

    image: Any = load(path)
    voxels = np.broadcast_to(np.float32(0), image.shape[:3])
    return Volume(voxels, np.asarray(image.affine, dtype=np.float64), path)


def read_mask(path: Path) -> Volume[np.bool_]:
    """Read a mask; values within 1e-3 of 0 and 1 count as these (uint8 with a scale reads as 1.00000006).

    Args:
        path: A .nii or .nii.gz file.

    Returns:
        The mask bool (X, Y, Z), of a 2-D file (X, Y, 1).

    Raises:
        DataError: As `read_volume` (but a constant mask is allowed), and for any other value.
    """
    volume = _read(path, slices=True)
    array = volume.array
    if array.dtype.kind == "f":
        lesion, strange = np.abs(array - 1) <= MASK_TOLERANCE, np.abs(array) > MASK_TOLERANCE
    else:
        lesion, strange = array == 1, array != 0
    strange &= ~lesion
    if strange.any():
        raise DataError(_strange_mask(path, array, strange))
    return replace(volume, array=lesion)


def read_probability(path: Path) -> Volume[np.float32]:
    """Read a probability map; values up to 1e-3 outside [0, 1] count as 0 and 1 (scaled integers).

    Args:
        path: A .nii or .nii.gz file.

    Returns:
        The map float32 (X, Y, Z) in [0, 1], of a 2-D file (X, Y, 1).

    Raises:
        DataError: As `read_volume` (but a constant map is allowed), and for any value further outside.
    """
    volume = _read(path, np.float32, slices=True)
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < -MASK_TOLERANCE or high > 1 + MASK_TOLERANCE:
        raise DataError(
            f"{path}: a probability map holds 0 to 1; here values go from {low:g} to {high:g}: "
            "apply the sigmoid to logits, divide an 8-bit map by 255"
        )
    return replace(volume, array=volume.array.clip(0, 1))


def read_labels(path: Path) -> Volume[np.integer[Any]]:
    """Read a label map; values within 1e-3 of a whole number count as that number, integers are kept as they are.

    Args:
        path: A .nii or .nii.gz file.

    Returns:
        The labels int32, or int64 where they need it (X, Y, Z), of a 2-D file (X, Y, 1).

    Raises:
        DataError: As `read_volume` (but a constant map is allowed), and for any other value.
    """
    volume = _read(path, slices=True)
    array = volume.array
    if array.dtype.kind == "f":
        array = np.rint(array)
        strange = np.abs(volume.array - array) > MASK_TOLERANCE
        if strange.any():
            first = float(volume.array[strange].flat[0])
            raise DataError(
                f"{path}: a label map holds whole numbers; here {int(strange.sum())} voxels don't, e.g. {first:g}"
            )
    low, high = int(array.min()), int(array.max())
    ranges = ((kind, np.iinfo(kind)) for kind in (np.int32, np.int64))
    fitting = next((kind for kind, limits in ranges if limits.min <= low and high <= limits.max), None)
    if fitting is None:
        raise DataError(f"{path}: labels go from {low} to {high}, expected whole numbers of 64 bits; number them anew")
    return replace(volume, array=array.astype(fitting))


def _strange_mask(path: Path, array: npt.NDArray[Any], strange: npt.NDArray[np.bool_]) -> str:
    values = np.unique(array[strange])
    shown = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if len(values) > 5 else "")
    found = f"{path}: a mask holds 0 and 1 only; here {int(strange.sum())} voxels are {shown}"
    if len(values) == 1 and values[0] == array.max() and values[0] > 1 and not np.any(array == 1):
        return f"{found}: divide the mask by {values[0]:g}"
    if values.min() > 0 and values.max() < 1:
        return f"{found}: these look like probabilities; choose a threshold and save a mask of 0 and 1"
    return f"{found}: choose which values are lesion and save those as 1, the rest as 0"


def repairs_of(path: Path, is_mask: bool) -> tuple[str, ...]:
    """List what reading a file repairs or has to choose, one line each.

    Raises:
        DataError: As reading the file.
    """
    if is_series(path):
        return ()
    lines: list[str] = []
    image = parse_image(path, checked_bytes(path))
    if len(image.shape) > 3:
        lines.append(
            f"{path}: shape {tuple(image.shape)}: the trailing axes of length one are dropped; save three axes"
        )
    if is_mask:
        with np.errstate(all="ignore"):  # of infinite values
            array = np.asarray(image.dataobj, dtype=np.float64)
            off = float(np.abs(array - np.rint(array)).max())
        if off > 0:
            lines.append(
                f"{path}: values up to {off:.2g} from a whole number (integers saved with a scale?) are rounded; "
                "save the mask as uint8 without a scale"
            )
    apart = _forms_apart_mm(image)
    if apart > FORMS_APART_MM:
        lines.append(
            f"{path}: qform and sform lie up to {apart:.3g} mm apart; the sform is used here, other programs may take "
            "the qform: set both alike"
        )
    return tuple(lines)


def header_orientation(path: Path) -> str:
    """Name the directions of the axes of a file that was read before, e.g. RAS; empty where its header tells none."""
    if is_series(path):
        return orientation(read_series_grid(path).affine)
    from nibabel.loadsave import load

    image: Any = load(path)
    return orientation(np.asarray(image.affine, dtype=np.float64)) if _is_placed(image) else ""


def _is_placed(image: Any) -> bool:
    return int(image.header["qform_code"]) > 0 or int(image.header["sform_code"]) > 0


def _forms_apart_mm(image: Any) -> float:
    """The largest distance between a corner by the qform and by the sform; 0 where the header has only one."""
    header = image.header
    if int(header["qform_code"]) <= 0 or int(header["sform_code"]) <= 0:
        return 0.0
    q, s = np.asarray(header.get_qform()), np.asarray(header.get_sform())
    if not (np.abs((q, s)) <= FARTHEST_MM).all():
        return 0.0
    nothing = np.broadcast_to(np.bool_(False), (*image.shape, 1, 1)[:3])
    return corner_distance_mm(Volume(nothing, q, Path()), Volume(nothing, s, Path()))


def write_volume(path: Path, array: npt.NDArray[Any], affine: Affine) -> None:
    """Write an array as NIfTI, atomically.

    Args:
        path: A .nii or .nii.gz file.
        array: Voxels (X, Y, Z); bool becomes uint8.
        affine: Voxel indices to millimetres (4, 4).

    Raises:
        DataError: The name has another ending.
    """
    nibabel = import_nibabel()
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: an image is written as .nii or .nii.gz; choose such a name")
    image = nibabel.Nifti1Image(array.astype(np.uint8) if array.dtype == np.bool_ else array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    with atomic_file(path) as temporary:
        nibabel.save(image, temporary)


def _read(path: Path, dtype: type[np.float32] | None = None, *, slices: bool = False) -> Volume[Any]:
    """Read a file as `dtype`, or else numbers as they are, scaled ones as float64.

    With `slices`, an image of two axes is taken as one slice.
    """
    image = parse_image(path, checked_bytes(path))
    shape = tuple(int(length) for length in image.shape)
    if slices and len(shape) == 2:
        shape = (*shape, 1)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise DataError(f"{path}: expected 3 axes, found {len(shape)}, shape {shape}; save one volume per file")
    affine = checked_affine(path, image)
    with np.errstate(all="ignore"):  # what is not finite then is refused
        array = np.asarray(image.dataobj, dtype=dtype).reshape(shape)
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise DataError(
            f"{path}: {int(bad.sum())} voxels are NaN or infinite, the first at {first}; "
            "replace them (outside the head with 0) or export the image again"
        )
    qform = np.asarray(image.header.get_qform()) if _forms_apart_mm(image) > 0 else None
    return Volume(array, affine, path, qform, _is_placed(image))
