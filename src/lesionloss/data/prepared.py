"""A prepared case: what training and inference read, on disk and in memory."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.data.array_files import (
    pack_image,
    pack_labels,
    pack_mask,
    read_members,
    unpack_image,
    unpack_labels,
    unpack_mask,
    write_members,
)
from lesionloss.data.nifti_bytes import FARTHEST_MM
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.resampling.turn import put_back
from lesionloss.data.subject import LESION, Image, Labels, Mask
from lesionloss.data.volume import Affine, spacing_of


@dataclass(frozen=True, eq=False)
class Origin:
    """The follow-up's grid of a case that was turned, resampled or registered: `shape` and `affine` (4, 4).

    `motion` (4, 4) takes points of the prepared case to points of that grid, both in mm.
    """

    shape: tuple[int, ...]
    affine: Affine
    motion: Affine


def channels_of(visits: int, contrasts: int, difference: bool = True) -> tuple[str, ...]:
    """Name the channels of a prepared image."""
    times = ("baseline", "followup") if visits == 2 else tuple(f"visit{index}" for index in range(1, visits + 1))
    if visits == 1:
        return tuple(f"contrast{number}" for number in range(1, contrasts + 1))
    names = [time if contrasts == 1 else f"{time}:{number}" for time in times for number in range(1, contrasts + 1)]
    return (*names, "difference") if visits == 2 and difference else tuple(names)


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A subject cropped to its brain and normalised.

    *space has two or three axes.

    Attributes:
        name: Name of the case.
        patient: Name of the patient.
        image: Z-scores float32 (channels, *space), 0 outside the brain.
        channels: Names of the channels; of two visits with one contrast: baseline, followup and difference.
        reference: Class numbers uint8 (*space): 0 background, then the `classes`; all 0 where there is no reference.
        brain: Brain mask (*space).
        affine: Voxel indices of the cropped grid to millimetres (4, 4).
        offset: The crop's first voxel in the grid of `original_shape`.
        original_shape: Shape of the grid before the crop.
        ignore: Voxels that are neither lesion nor background (*space), None for none.
        classes: Names of the lesion classes.
        origin: Where results go back to; None unless the case was turned, resampled or registered.
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
    origin: Origin | None = None

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
    """Put an array where it belongs on the follow-up's grid.

    Of a case that was only turned and cropped, voxels are copied. Of one that was resampled or registered,
    floating-point maps are interpolated linearly; masks and class numbers are moved so that no lesion vanishes.

    Args:
        array: Values (*space) on the case's grid.
        case: The prepared case.

    Returns:
        Values on the follow-up's grid, 0 outside the crop.

    Raises:
        DataError: The array has another shape than the case.
    """
    if array.shape != case.shape:
        raise DataError(f"{case.name}: expected an array on the prepared grid {case.shape}, got {array.shape}")
    if case.origin is not None:
        return _moved_back(array, case, case.origin)
    whole = np.zeros(case.original_shape, dtype=array.dtype)
    whole[tuple(slice(o, o + n) for o, n in zip(case.offset, case.shape, strict=True))] = array
    return whole


def _moved_back(array: npt.NDArray[Any], case: PreparedCase, origin: Origin) -> npt.NDArray[Any]:
    from lesionloss.data.resampling.along_motion import move_labels, move_linear, move_nearest

    copied = put_back(array, np.linalg.inv(origin.affine) @ origin.motion @ case.affine, origin.shape)
    if copied is not None:
        return copied
    here, there = VoxelGrid(case.shape, case.affine), VoxelGrid(origin.shape, origin.affine)
    back: Affine = np.linalg.inv(origin.motion).astype(np.float64)
    if array.dtype.kind == "f":
        return move_linear(array.astype(np.float32), here, there, back).astype(array.dtype)
    if array.dtype == np.bool_ or array.dtype == np.uint8:
        return move_labels(array.astype(np.uint8), here, there, back)[0].astype(array.dtype)
    return move_nearest(array, here, there, back)


def _arrays(case: PreparedCase) -> dict[str, npt.NDArray[Any]]:
    optional: dict[str, npt.NDArray[Any]] = {} if case.ignore is None else {"ignore": case.ignore}
    if case.origin is not None:
        optional |= _origin_arrays(case.origin)
    return {
        "image": case.image,
        "reference": case.reference,
        "brain": case.brain,
        "affine": case.affine,
        "offset": np.array(case.offset, dtype=np.int64),
        "original_shape": np.array(case.original_shape, dtype=np.int64),
        **optional,
    }


def _origin_arrays(origin: Origin) -> dict[str, npt.NDArray[Any]]:
    return {
        "origin_shape": np.array(origin.shape, dtype=np.int64),
        "origin_affine": origin.affine,
        "origin_motion": origin.motion,
    }


def save_prepared(case: PreparedCase, path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Write a case as .npz without pickle, atomically.

    Args:
        case: The prepared case.
        path: The file.
        record: How the case was prepared, as plain values.
    """
    members = {
        **{
            name: array
            for name, array in _arrays(case).items()
            if name not in ("image", "reference", "brain", "ignore")
        },
        "shape": np.array(case.shape, dtype=np.int64),
        "brain": pack_mask(case.brain),
        **pack_image(case.image, case.brain),
        **pack_labels(case.reference),
        **({} if case.ignore is None else {"ignore": pack_mask(case.ignore)}),
    }
    about = {
        "name": case.name,
        "patient": case.patient,
        "channels": list(case.channels),
        "classes": list(case.classes),
        "record": dict(record or {}),
    }
    write_members(path, members, about)


def load_prepared(path: Path) -> PreparedCase:
    """Read a case that `save_prepared` wrote.

    Raises:
        DataError: The file is missing, damaged (checksums are checked) or something else.
    """
    stored, about = read_members(path)
    try:
        shape = tuple(stored["shape"].tolist())
        brain = unpack_mask(stored["brain"], shape)
        case = PreparedCase(
            name=about["name"],
            patient=about["patient"],
            image=unpack_image(stored, brain),
            channels=tuple(about["channels"]),
            reference=unpack_labels(stored, shape),
            brain=brain,
            affine=stored["affine"],
            offset=tuple(stored["offset"].tolist()),
            original_shape=tuple(stored["original_shape"].tolist()),
            ignore=unpack_mask(stored["ignore"], shape) if "ignore" in stored else None,
            classes=tuple(about["classes"]),
            origin=_origin(stored),
        )
        _check_parts(case)
        return case
    except (KeyError, ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{path}: not a whole prepared case ({error!r}); delete it and prepare the cohort again"
        ) from error


def _check_parts(case: PreparedCase) -> None:
    """Raise ValueError for parts of another type, or that do not fit each other."""
    grids = [(case.original_shape, case.affine)]
    if case.origin is not None:
        grids += [(case.origin.shape, case.origin.affine), (case.origin.shape, case.origin.motion)]
    for shape, affine in grids:
        if affine.shape != (4, 4) or affine.dtype != np.float64 or not (np.abs(affine) <= FARTHEST_MM).all():
            raise ValueError("an affine that is none")
        if len(shape) != len(case.shape) or not all(isinstance(side, int) and side > 0 for side in shape):
            raise ValueError(f"a grid of shape {shape}")
    ends = [start + side for start, side in zip(case.offset, case.shape, strict=True)]
    if not all(isinstance(end, int) for end in ends) or (
        case.origin is None
        and any(
            not side <= end <= whole for side, end, whole in zip(case.shape, ends, case.original_shape, strict=True)
        )
    ):
        raise ValueError(f"a crop from {case.offset} on")
    if not all(isinstance(text, str) for text in (case.name, case.patient, *case.channels, *case.classes)):
        raise ValueError("names that are no texts")
    if len(case.channels) != len(case.image) or case.reference.max(initial=0) > len(case.classes):
        raise ValueError(f"{len(case.image)} channels, {len(case.classes)} classes")


def _origin(stored: Mapping[str, npt.NDArray[Any]]) -> Origin | None:
    if "origin_shape" not in stored:
        return None
    return Origin(tuple(stored["origin_shape"].tolist()), stored["origin_affine"], stored["origin_motion"])


def load_channels(path: Path) -> tuple[str, ...]:
    """Read the names of a prepared case's channels, without its arrays.

    Raises:
        DataError: As `load_prepared`.
    """
    about = read_members(path, only_about=True)[1]
    return tuple(about.get("channels", ()))


def load_record(path: Path) -> dict[str, Any]:
    """Read how a prepared case was made, without its arrays.

    Raises:
        DataError: As `load_prepared`.
    """
    about = read_members(path, only_about=True)[1]
    record: dict[str, Any] = about.get("record", {})
    return record
