"""The bytes of a NIfTI file: decompressed, checked and parsed before their content is used.

nibabel reads a gzip stream only as far as it needs, so it never sees the checksum at its end: a flipped bit gives
altered voxels without an error. Here the whole stream is decompressed and checked first. An uncompressed .nii has no
checksum; only its length can be checked.
"""

import gzip
import io
import math
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.stand_ins import missing_file, stand_in
from lesionloss.data.volume import Affine, check_right_angles, spacing_of

GZIP_MAGIC = b"\x1f\x8b"
PLAUSIBLE_SPACING_MM = (0.01, 100.0)
FARTHEST_MM = 1e9
# Below this share of the box spanned by their lengths, the three axes of an affine lie in a plane.
FLAT_AXES = 1e-4
# Bytes that may follow the image in a gzip stream: padding, the empty last member of bgzip.
SLACK_BYTES = 2**20
HEADER_BYTES = {False: 348, True: 540}  # NIfTI-1, NIfTI-2


def import_nibabel() -> Any:
    """Import nibabel when it is first needed; its interface is mostly untyped."""
    import nibabel

    return nibabel


def checked_bytes(path: Path) -> bytes:
    """Read the bytes of a NIfTI file, decompressed.

    Raises:
        DataError: The file is missing, unreadable, empty, something else under this name, cut off or damaged.
    """
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
        parts.append(stream.decompress(rest, min(most - size + 1, sys.maxsize)))
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
    nibabel = import_nibabel()
    kind = nibabel.Nifti2Header if _is_nifti2(head) else nibabel.Nifti1Header
    try:
        header = kind(head[: HEADER_BYTES[_is_nifti2(head)]], check=False)
        voxels = math.prod(int(length) for length in header.get_data_shape())
        return max(0, int(header["vox_offset"])) + max(0, voxels) * int(header.get_data_dtype().itemsize)
    except Exception:  # whatever nibabel raises for a header of any content
        return 0


def _is_nifti2(content: bytes) -> bool:
    return 540 in (int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big"))


def parse_image(path: Path, content: bytes) -> Any:
    """Parse `content` as a nibabel image of a plain number type that is long enough for its shape.

    Raises:
        DataError: It is none, or cut off.
    """
    nibabel = import_nibabel()
    refused = (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    )
    nifti2 = _is_nifti2(content)
    kind = nibabel.Nifti2Image if nifti2 else nibabel.Nifti1Image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions, which are not used
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


def checked_affine(path: Path, image: Any) -> Affine:
    """Return the affine of an image, voxel indices to millimetres (4, 4).

    Raises:
        DataError: It holds NaN, can't be inverted, is sheared, or gives voxels of an implausible size.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    fix = "correct the header (qform or sform) or export the image again"
    if not (np.abs(affine) <= FARTHEST_MM).all():
        raise DataError(f"{path}: the affine holds NaN or infinite numbers, or some above {FARTHEST_MM:g}; {fix}")
    spacing = spacing_of(affine)
    with np.errstate(all="ignore"):  # of axes that nearly lie in a plane
        volume = abs(float(np.linalg.det(affine[:3, :3])))
    if volume <= FLAT_AXES * math.prod(spacing):
        raise DataError(f"{path}: the affine can't be inverted (zero, or its axes lie in a plane); {fix}")
    low, high = PLAUSIBLE_SPACING_MM
    if not all(low <= edge <= high for edge in spacing):
        shown = " x ".join(f"{edge:g}" for edge in spacing)
        raise DataError(f"{path}: voxels of {shown} mm, expected {low:g} to {high:g} mm (metres or microns?); {fix}")
    check_right_angles(affine, str(path))
    return affine
