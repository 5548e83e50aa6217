"""NIfTI files read and written; a file is checked before its content is used.

nibabel reads a gzip stream only as far as it needs, so it never sees the checksum at its end: a flipped bit gives
altered voxels without an error. Here the whole stream is decompressed and checked first. An uncompressed .nii has no
checksum; only its length can be checked.
"""

import gzip
import io
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.core.files import atomic_file
from lesionloss.data.stand_ins import missing_file, stand_in
from lesionloss.data.volume import Affine, Volume, check_right_angles, corner_distance_mm, orientation, spacing_of

GZIP_MAGIC = b"\x1f\x8b"
PLAUSIBLE_SPACING_MM = (0.01, 100.0)
MASK_TOLERANCE = 1e-3
# qform and sform that differ by less are one, stored with different rounding.
FORMS_APART_MM = 0.1
# Below this share of the box spanned by their lengths, the three axes of an affine lie in a plane.
FLAT_AXES = 1e-4
# Bytes that may follow the image in a gzip stream: padding, the empty last member of bgzip.
SLACK_BYTES = 2**20
HEADER_BYTES = {False: 348, True: 540}  # NIfTI-1, NIfTI-2


def _nibabel() -> Any:
    """Import nibabel when it is first needed; its interface is mostly untyped."""
    import nibabel

    return nibabel


def read_volume(path: Path) -> Volume[np.float32]:
    """Read an image; a trailing axis of length one is dropped.

    Args:
        path: A .nii or .nii.gz file.

    Returns:
        The image float32 (X, Y, Z) with its affine.

    Raises:
        DataError: The file is missing, truncated, damaged or not NIfTI; the image is not three-dimensional, holds NaN,
            infinite or only equal values, or has an affine that can't be inverted. Names the file and the remedy.
    """
    volume = _read(path, np.float32)
    if volume.array.min() == volume.array.max():
        value = float(volume.array.flat[0])
        raise DataError(f"{path}: every voxel is {value:g}: an empty or failed export; export the image again")
    return volume


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
    lines: list[str] = []
    image = _parse(path, _checked_bytes(path))
    if len(image.shape) > 3:
        lines.append(
            f"{path}: shape {tuple(image.shape)}: the trailing axes of length one are dropped; save three axes"
        )
    if is_mask:
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
    if not (np.isfinite(q).all() and np.isfinite(s).all()):
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
    nibabel = _nibabel()
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
    image = _parse(path, _checked_bytes(path))
    shape = tuple(int(length) for length in image.shape)
    if slices and len(shape) == 2:
        shape = (*shape, 1)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise DataError(f"{path}: expected 3 axes, found {len(shape)}, shape {shape}; save one volume per file")
    affine = _checked_affine(path, image)
    with np.errstate(over="ignore"):
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


def _checked_bytes(path: Path) -> bytes:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: not a NIfTI file by its name; expected .nii or .nii.gz: convert it (e.g. dcm2niix)")
    if not path.is_file():
        raise DataError(f"{path}: {missing_file(path)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check its permissions") from error
    if not content:
        raise DataError(f"{path}: the file is empty; fetch it again")
    compressed = content[:2] == GZIP_MAGIC
    if not compressed and (what := stand_in(content)):
        raise DataError(f"{path}: {what}")
    if compressed != path.name.endswith(".gz"):
        is_, ending = ("compressed", ".nii.gz") if compressed else ("not gzip-compressed", ".nii")
        raise DataError(f"{path}: the file is {is_}, unlike its name; rename it to {ending} if it is whole")
    if not compressed:
        return content
    try:
        return _unpack(path, content)
    except EOFError as error:
        raise DataError(f"{path}: the file is cut off (the gzip stream has no end); fetch it again") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{path}: the file is damaged ({error}); fetch it again") from error


def _unpack(path: Path, content: bytes) -> bytes:
    """Decompress a whole gzip stream, all members, but little more than the image that its header announces.

    Raises:
        DataError: The stream goes on after the image.
        EOFError: The stream has no end.
        OSError: It is damaged.
        zlib.error: The same.
    """
    head = gzip.GzipFile(fileobj=io.BytesIO(content)).read(max(HEADER_BYTES.values()))
    end = _end_of_image(head)
    most = end + SLACK_BYTES
    parts: list[bytes] = []
    size, rest = 0, content
    while rest.startswith(GZIP_MAGIC):
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        parts.append(stream.decompress(rest, most - size + 1))
        size += len(parts[-1])
        if size > most:
            if not end:  # no header: reading the first bytes will say so
                return b"".join(parts)
            raise DataError(
                f"{path}: the compressed file goes on after the end of the image ({end} bytes by its header); "
                "write the image alone again, or fetch it again"
            )
        if not stream.eof:
            raise EOFError
        rest = stream.unused_data
    if rest.strip(b"\0"):
        raise OSError("other bytes follow the compressed image")
    return b"".join(parts)


def _end_of_image(head: bytes) -> int:
    """Where the voxels end by the first bytes of a NIfTI file; 0 if they are no header."""
    nibabel = _nibabel()
    kind = nibabel.Nifti2Header if _is_nifti2(head) else nibabel.Nifti1Header
    try:
        header = kind(head[: HEADER_BYTES[_is_nifti2(head)]], check=False)
        voxels = math.prod(int(length) for length in header.get_data_shape())
        return max(0, int(header["vox_offset"])) + voxels * int(header.get_data_dtype().itemsize)
    except Exception:  # whatever nibabel raises for a header of any content
        return 0


def _is_nifti2(content: bytes) -> bool:
    return 540 in (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))


def _parse(path: Path, content: bytes) -> Any:
    """Parse `content` as a nibabel image of a plain number type that is long enough for its shape."""
    nibabel = _nibabel()
    refused = (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    )
    nifti2 = _is_nifti2(content)
    kind = nibabel.Nifti2Image if nifti2 else nibabel.Nifti1Image
    try:
        image = kind.from_bytes(content)
        shape, dtype, offset = image.shape, image.get_data_dtype(), int(image.dataobj.offset)
    except (*refused, ValueError, OSError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a single-file NIfTI image ({reason}); convert or export it again") from error
    if offset < HEADER_BYTES[nifti2]:
        raise DataError(
            f"{path}: by its header (vox_offset {offset}) the voxels begin inside the header of {HEADER_BYTES[nifti2]} "
            "bytes; export the image again"
        )
    if dtype.kind not in "iuf":
        raise DataError(f"{path}: voxels of type {dtype} are not plain numbers; export a single-channel image")
    if min(shape, default=0) < 1:
        raise DataError(f"{path}: the image has no voxels, shape {shape}; export it again")
    missing = offset + math.prod(int(length) for length in shape) * dtype.itemsize - len(content)
    if missing > 0:
        raise DataError(f"{path}: the file is cut off: {missing} bytes are missing for shape {shape}; fetch it again")
    return image


def _checked_affine(path: Path, image: Any) -> Affine:
    affine = np.asarray(image.affine, dtype=np.float64)
    fix = "correct the header (qform or sform) or export the image again"
    if not np.isfinite(affine).all():
        raise DataError(f"{path}: the affine holds NaN or infinite numbers; {fix}")
    spacing = spacing_of(affine)
    volume = abs(float(np.linalg.det(affine[:3, :3])))
    if volume <= FLAT_AXES * math.prod(spacing):
        raise DataError(f"{path}: the affine can't be inverted (zero, or its axes lie in a plane); {fix}")
    low, high = PLAUSIBLE_SPACING_MM
    if not all(low <= edge <= high for edge in spacing):
        shown = " x ".join(f"{edge:g}" for edge in spacing)
        raise DataError(f"{path}: voxels of {shown} mm, expected {low:g} to {high:g} mm (metres or microns?); {fix}")
    check_right_angles(affine, str(path))
    return affine
