"""Arrays of a prepared case on disk: small, quick to read, checked by their checksums, without pickle.

Compression by zlib costs seconds per case, because the last bits of float32 numbers are noise. Two facts save more: a
normalised image is 0 outside the brain, so only the brain's voxels are stored; and a difference of two channels can be
computed again. The members of the .npz are stored uncompressed, each with a CRC-32 that is checked when it is read.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.core.files import atomic_file
from lesionloss.core.npz_files import read_npz
from lesionloss.data.stand_ins import stand_in

# 1 had binary references of two visits only, 2 was compressed by zlib.
FORMAT = 3
MOST_CHANNELS = 256
Array = npt.NDArray[Any]


def pack_image(image: npt.NDArray[np.float32], brain: npt.NDArray[np.bool_]) -> dict[str, Array]:
    """Make the members that hold an image: values inside the brain if all others are 0, each difference only once.

    Args:
        image: Channels float32 (C, *space).
        brain: Brain mask (*space).

    Returns:
        Arrays by name: `values`, `kept` (channels that are stored) and `minus` (rows channel, a, b: channel = a - b).
    """
    minus = _differences(image)
    kept = [channel for channel in range(len(image)) if channel not in {int(row[0]) for row in minus}]
    # Negative zeros have a bit of their own, which would be lost.
    outside = image[kept][:, ~brain].view(np.uint32)
    values = image[kept] if outside.any() else image[kept][:, brain]
    return {"values": np.ascontiguousarray(values), "kept": np.array(kept, dtype=np.int64), "minus": minus}


def unpack_image(members: Mapping[str, Array], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Restore an image from its members.

    Raises:
        ValueError: They do not fit each other, or make too many channels.

    Args:
        members: What `pack_image` returned.
        brain: Brain mask (*space).

    Returns:
        The image float32 (C, *space), bit for bit.
    """
    values, kept, minus = members["values"], members["kept"], members["minus"]
    if values.dtype != np.float32 or {kept.dtype, minus.dtype} != {np.dtype(np.int64)}:
        raise ValueError("arrays of another type")
    if len(kept) != len(values) or minus.shape[1:] != (3,) or len(kept) + len(minus) > MOST_CHANNELS:
        raise ValueError(f"{len(kept)} and {len(minus)} channels")
    image = np.zeros((len(kept) + len(minus), *brain.shape), dtype=np.float32)
    for row, channel in enumerate(kept):
        if values.ndim == image.ndim:
            image[channel] = values[row]
        else:
            image[channel][brain] = values[row]
    for channel, of, less in minus:
        np.subtract(image[of], image[less], out=image[channel])
    return image


def _differences(image: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Find rows (channel, a, b) with channel = a - b bit for bit, where a and b come before the channel."""
    found: list[tuple[int, int, int]] = []
    for channel in range(2, len(image)):
        sources = [other for other in range(channel) if other not in {row[0] for row in found}]
        pairs = ((a, b) for a in sources for b in sources if a != b)
        match = next((pair for pair in pairs if _is_difference(image, channel, *pair)), None)
        if match is not None:
            found.append((channel, *match))
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _is_difference(image: npt.NDArray[np.float32], channel: int, a: int, b: int) -> bool:
    middle = tuple(n // 2 for n in image.shape[1:-1])
    line = (image[a][middle] - image[b][middle]).view(np.uint32)
    if not np.array_equal(line, image[channel][middle].view(np.uint32)):
        return False
    whole = (image[a] - image[b]).view(np.uint32)
    return bool(np.array_equal(whole, np.ascontiguousarray(image[channel]).view(np.uint32)))


def pack_mask(mask: npt.NDArray[np.bool_]) -> Array:
    """Pack a mask (*space) into bits (bytes,)."""
    return np.packbits(mask)


def unpack_mask(bits: Array, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Unpack the mask (*shape) that `pack_mask` was given.

    Raises:
        ValueError: There are more or fewer bits.
    """
    if min(shape, default=0) < 1 or bits.shape != (-(-math.prod(shape) // 8),):
        raise ValueError(f"a mask of {bits.size} bytes for shape {shape}")
    return np.unpackbits(bits, count=math.prod(shape)).astype(np.bool_).reshape(shape)


def pack_labels(labels: Array) -> dict[str, Array]:
    """Store class numbers (*space) as the places and values of those that are not 0."""
    where = np.flatnonzero(labels)
    return {"reference_at": where.astype(np.int64), "reference_is": labels.ravel()[where].astype(np.uint8)}


def unpack_labels(members: Mapping[str, Array], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Restore the class numbers (*shape) that `pack_labels` was given.

    Raises:
        ValueError: They have another type.
    """
    if members["reference_is"].dtype != np.uint8:
        raise ValueError(f"classes of type {members['reference_is'].dtype}")
    labels = np.zeros(int(np.prod(shape)), dtype=np.uint8)
    labels[members["reference_at"]] = members["reference_is"]
    return labels.reshape(shape)


def write_members(path: Path, members: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    """Write arrays and plain values (`about`) as .npz, atomically."""
    texts = {"about": np.array(json.dumps(about, sort_keys=True)), "format": np.array(FORMAT)}
    with atomic_file(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **members, **texts)


def read_members(path: Path, only_about: bool = False) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a file that `write_members` wrote.

    Args:
        path: The .npz file.
        only_about: Whether to leave out the arrays.

    Returns:
        The arrays by name (none if `only_about`), and the plain values.

    Raises:
        DataError: The file is missing, damaged, something else or of another version of the format.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such prepared case; prepare the cohort again")
    try:
        with path.open("rb") as handle:
            if what := stand_in(handle.read(512)):
                raise DataError(f"{path}: {what}")
        stored = read_npz(path, lambda name: not only_about or name in ("about", "format"))
        found = str(stored.pop("format", "1"))
        if found != str(FORMAT):
            raise DataError(
                f"{path}: a prepared case of format {found}, this program reads {FORMAT}; prepare the cohort again"
            )
        about = json.loads(str(stored.pop("about")))
        if not isinstance(about, dict):
            raise ValueError("its description is no table")
    except DataError:
        raise
    except (OSError, ValueError, KeyError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a whole prepared case ({reason}); delete it and prepare the cohort again"
        ) from error
    return stored, about
