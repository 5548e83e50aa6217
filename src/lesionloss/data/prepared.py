"""A prepared case: what training and inference read, on disk and in memory."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.data.nifti import Affine, spacing_of
from lesionloss.data.subject import Image, Mask
from lesionloss.errors import DataError
from lesionloss.files import whole_file

CHANNELS = ("baseline", "followup", "difference")


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A subject cropped to its brain and normalised.

    `image` float32 (3, X, Y, Z) holds baseline, followup and difference (followup - baseline) as z-scores, 0 outside
    the brain; `reference` and `brain` are bool (X, Y, Z), `reference` all False where the subject has none; `affine`
    (4, 4) is that of the cropped grid; `offset` (3,) is the crop's first voxel in the grid of `original_shape` (3,).
    """

    name: str
    patient: str
    image: Image
    reference: Mask
    brain: Mask
    affine: Affine
    offset: tuple[int, int, int]
    original_shape: tuple[int, int, int]
    ignore: Mask | None = None
    channels: tuple[str, ...] = CHANNELS

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the cropped grid's axes."""
        return self.reference.shape

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Edge lengths of a voxel."""
        return spacing_of(self.affine)[: self.reference.ndim]

    @property
    def reference_outside_brain(self) -> int:
        """Reference voxels where the brain mask is False, and so the image is 0."""
        return int((self.reference & ~self.brain).sum())

    @cached_property
    def lesion_voxels(self) -> npt.NDArray[np.int64]:
        """Flat indices of the reference's voxels."""
        return np.flatnonzero(self.reference)

    @cached_property
    def brain_voxels(self) -> npt.NDArray[np.int64]:
        """Flat indices of the brain's voxels."""
        return np.flatnonzero(self.brain)

    @cached_property
    def content_sha256(self) -> str:
        """Digest of all arrays: equal for equal content, however it is stored."""
        digest = hashlib.sha256()
        for name, array in _arrays(self).items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def to_original_grid(array: npt.NDArray[Any], case: PreparedCase) -> npt.NDArray[Any]:
    """An array (X, Y, Z) on the case's cropped grid, put where it belongs on the visits' grid; 0 elsewhere."""
    if array.shape != case.shape:
        raise DataError(f"{case.name}: expected an array on the prepared grid {case.shape}, got {array.shape}")
    whole = np.zeros(case.original_shape, dtype=array.dtype)
    whole[tuple(slice(o, o + n) for o, n in zip(case.offset, case.shape, strict=True))] = array
    return whole


def _arrays(case: PreparedCase) -> dict[str, npt.NDArray[Any]]:
    return {
        "image": case.image,
        "reference": case.reference,
        "brain": case.brain,
        "affine": case.affine,
        "offset": np.array(case.offset, dtype=np.int64),
        "original_shape": np.array(case.original_shape, dtype=np.int64),
    }


def save_prepared(case: PreparedCase, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Write a case as compressed npz without pickle, whole or not at all; `record` (JSON) says how it was made."""
    texts = {"name": case.name, "patient": case.patient, "record": json.dumps(record or {}, sort_keys=True)}
    with whole_file(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(
            handle, allow_pickle=False, **_arrays(case), **{key: np.array(text) for key, text in texts.items()}
        )


def load_prepared(path: Path) -> PreparedCase:
    """Read a case. Raises DataError if the file is missing, damaged (its checksums are read) or something else."""
    stored = _read(path, ("name", "patient", "image", "reference", "brain", "affine", "offset", "original_shape"))
    return PreparedCase(
        name=str(stored["name"]),
        patient=str(stored["patient"]),
        image=stored["image"],
        reference=stored["reference"],
        brain=stored["brain"],
        affine=stored["affine"],
        offset=_triple(stored["offset"]),
        original_shape=_triple(stored["original_shape"]),
    )


def load_record(path: Path) -> dict[str, Any]:
    """How a prepared case was made, as `save_prepared` was told; reads no image. Raises as `load_prepared`."""
    record: dict[str, Any] = json.loads(str(_read(path, ("record",))["record"]))
    return record


def _triple(array: npt.NDArray[Any]) -> tuple[int, int, int]:
    x, y, z = (int(value) for value in array)
    return x, y, z


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"{path}: no such prepared case; prepare the cohort again")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in keys}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a whole prepared case ({reason}); delete it and prepare the cohort again"
        ) from error
