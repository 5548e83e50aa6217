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
from lesionloss.data.subject import LESION, Image, Labels, Mask
from lesionloss.errors import DataError
from lesionloss.files import whole_file

FORMAT = 2  # of the file; 1 had binary references of two visits only


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A subject cropped to its brain and normalised.

    `image` float32 (channels, *space) holds z-scores, 0 outside the brain: with two visits of one contrast the
    `channels` are baseline, followup and difference (followup - baseline). `reference` uint8 (*space) holds class
    numbers, all 0 where the subject has none: 0 background, then the `classes`; `brain` is bool (*space), and so is
    `ignore`, which marks voxels that are neither lesion nor background (None: nowhere). `affine` (4, 4) is that of the
    cropped grid; `offset` is the crop's first voxel in the grid of `original_shape`. *space has two or three axes.
    """

    name: str
    patient: str
    image: Image
    channels: tuple[str, ...]
    reference: Labels
    brain: Mask
    affine: Affine
    offset: tuple[int, ...]
    original_shape: tuple[int, ...]
    ignore: Mask | None = None
    classes: tuple[str, ...] = LESION

    @property
    def shape(self) -> tuple[int, ...]:
        """X, Y, Z or X, Y of the cropped grid."""
        return self.reference.shape

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Edge lengths of a voxel, one per axis of space."""
        return spacing_of(self.affine)[: self.reference.ndim]

    @property
    def lesion(self) -> Mask:
        """Where the reference marks any class."""
        return self.reference > 0

    @property
    def reference_outside_brain(self) -> int:
        """Reference voxels where the brain mask is False, and so the image is 0."""
        return int((self.lesion & ~self.brain).sum())

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
        arrays = _arrays(self)
        if self.classes == LESION:
            arrays["reference"] = self.lesion  # as many bits as the content has
        for name, array in arrays.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def to_original_grid(array: npt.NDArray[Any], case: PreparedCase) -> npt.NDArray[Any]:
    """An array (*space) on the case's cropped grid, put where it belongs on the visits' grid; 0 elsewhere."""
    if array.shape != case.shape:
        raise DataError(f"{case.name}: expected an array on the prepared grid {case.shape}, got {array.shape}")
    whole = np.zeros(case.original_shape, dtype=array.dtype)
    whole[tuple(slice(o, o + n) for o, n in zip(case.offset, case.shape, strict=True))] = array
    return whole


def _arrays(case: PreparedCase) -> dict[str, npt.NDArray[Any]]:
    ignore = {} if case.ignore is None else {"ignore": case.ignore}
    return {
        "image": case.image,
        "reference": case.reference,
        "brain": case.brain,
        "affine": case.affine,
        "offset": np.array(case.offset, dtype=np.int64),
        "original_shape": np.array(case.original_shape, dtype=np.int64),
        **ignore,
    }


def save_prepared(case: PreparedCase, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Write a case as compressed npz without pickle, whole or not at all; `record` (JSON) says how it was made."""
    texts = {
        "format": str(FORMAT),
        "name": case.name,
        "patient": case.patient,
        "channels": json.dumps(case.channels),
        "classes": json.dumps(case.classes),
        "record": json.dumps(record or {}, sort_keys=True),
    }
    with whole_file(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(
            handle, allow_pickle=False, **_arrays(case), **{key: np.array(text) for key, text in texts.items()}
        )


def load_prepared(path: Path) -> PreparedCase:
    """Read a case. Raises DataError if the file is missing, damaged (its checksums are read) or something else."""
    stored = _read(path, NEEDED)
    return PreparedCase(
        name=str(stored["name"]),
        patient=str(stored["patient"]),
        image=stored["image"],
        channels=tuple(json.loads(str(stored["channels"]))),
        reference=stored["reference"],
        brain=stored["brain"],
        affine=stored["affine"],
        offset=tuple(stored["offset"].tolist()),
        original_shape=tuple(stored["original_shape"].tolist()),
        ignore=stored.get("ignore"),
        classes=tuple(json.loads(str(stored["classes"]))),
    )


def load_record(path: Path) -> dict[str, Any]:
    """How a prepared case was made, as `save_prepared` was told; reads no image. Raises as `load_prepared`."""
    record: dict[str, Any] = json.loads(str(_read(path, ("format", "record"))["record"]))
    return record


NEEDED = (
    *("format", "name", "patient", "channels", "classes"),
    *("image", "reference", "brain", "affine", "offset", "original_shape"),
)


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"{path}: no such prepared case; prepare the cohort again")
    try:
        with np.load(path, allow_pickle=False) as stored:
            if "format" not in stored or str(stored["format"]) != str(FORMAT):
                found = str(stored["format"]) if "format" in stored else "1"
                raise DataError(
                    f"{path}: a prepared case of format {found}, this program reads {FORMAT}; prepare the cohort again"
                )
            optional = ("ignore",) if "image" in keys and "ignore" in stored else ()
            return {key: stored[key] for key in (*keys, *optional)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a whole prepared case ({reason}); delete it and prepare the cohort again"
        ) from error
