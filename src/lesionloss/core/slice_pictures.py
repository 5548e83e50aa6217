"""Pictures of axial slices in radiological orientation: the patient's right on the left, anterior on top."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import largest_component
from lesionloss.core.palette import CLASSES, FALSE_NEGATIVE, FALSE_POSITIVE, REFERENCE, TRUE_POSITIVE, WRONG_CLASS

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]
Pixels = NDArray[np.uint8]
Window = tuple[float, float]

MARGIN_VOXELS = 2
CLOSE_PIXEL_MM = 0.15
CLOSE_UP_MM = 44.0
WHOLE_PIXEL_MM = 0.6
WINDOW_PERCENT = (1.0, 99.7)
STRIPE_PIXELS = 6


@dataclass(frozen=True)
class Field:
    """A rectangle of a slice: its rows and columns, and the spacing in mm along (rows, columns)."""

    rows: slice
    columns: slice
    spacing_mm: tuple[float, float]

    def of(self, plane: NDArray[Any]) -> NDArray[Any]:
        """The part of a slice (rows, columns) inside the rectangle."""
        return plane[self.rows, self.columns]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width in mm."""
        return (
            (self.rows.stop - self.rows.start) * self.spacing_mm[0],
            (self.columns.stop - self.columns.start) * self.spacing_mm[1],
        )


def radiological(volume: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """A volume in radiological orientation.

    Args:
        volume: (X, Y, Z) in any orientation.
        affine: (4, 4), from voxel indices to millimetres (RAS).

    Returns:
        (slices from inferior, rows from anterior, columns from the patient's right).
    """
    axes, senses = _orientation(affine)
    order = np.argsort(axes)
    right, front, head = (slice(None, None, int(sense)) for sense in senses[order])
    upright = volume.transpose(order)[right, front, head]
    return np.ascontiguousarray(upright[::-1, ::-1].transpose(2, 1, 0))


def upright(array: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """(X, Y, Z) in any orientation, or a picture (X, Y), as (planes, rows, columns)."""
    return np.ascontiguousarray(array.T)[None] if array.ndim == 2 else radiological(array, affine)


def plane_spacing_mm(affine: NDArray[np.float64]) -> tuple[float, float]:
    """The spacing in mm along (rows, columns) of the slices that `radiological` gives; affine (4, 4)."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    order = np.argsort(_orientation(affine)[0])
    return float(lengths[order[1]]), float(lengths[order[0]])


def _orientation(affine: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each array axis: its anatomical axis (0 right, 1 anterior, 2 superior), and its direction, 1 or -1."""
    import nibabel as nib

    codes = nib.orientations.io_orientation(affine)
    return np.asarray(codes[:, 0], dtype=np.intp), np.asarray(codes[:, 1], dtype=np.float64)


def fullest_slice(reference: Mask) -> int:
    """The index of the slice of a mask (slices, rows, columns) with most lesion; the middle one if there is none."""
    counts = reference.sum(axis=(1, 2))
    return int(counts.argmax()) if counts.any() else len(reference) // 2


def around(mask: Mask, spacing_mm: tuple[float, float]) -> Field:
    """The rectangle around the largest part of a mask, with a small margin; the whole slice where it is empty."""
    part = largest_component(mask, 6)
    if not part.any():
        return Field(slice(0, mask.shape[0]), slice(0, mask.shape[1]), spacing_mm)
    spans = [np.flatnonzero(part.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (
        slice(max(0, int(span[0]) - MARGIN_VOXELS), min(size, int(span[-1]) + 1 + MARGIN_VOXELS))
        for span, size in zip(spans, mask.shape, strict=True)
    )
    return Field(rows, columns, spacing_mm)


def close_up(mask: Mask, spacing_mm: tuple[float, float], size_mm: float) -> Field:
    """A square of `size_mm` around the largest part of a mask, moved inside the slice where it would leave it."""
    inside = np.argwhere(largest_component(mask, 6))
    centre = inside.mean(axis=0) + 0.5 if len(inside) else np.array(mask.shape) / 2 + 0.5
    rows, columns = (
        _span(float(middle), size_mm / mm, voxels)
        for middle, mm, voxels in zip(centre, spacing_mm, mask.shape, strict=True)
    )
    return Field(rows, columns, spacing_mm)


def covering(mask: Mask, spacing_mm: tuple[float, float], size_mm: float) -> Field:
    """A square of `size_mm` or more around all parts of a mask, with a small margin, moved inside the slice."""
    inside = np.argwhere(mask) if mask.any() else np.array([[0, 0], mask.shape]) - [[0, 0], [1, 1]]
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    side = max(size_mm, *((high - low + 2 * MARGIN_VOXELS) * spacing_mm))
    rows, columns = (
        _span(float(middle), side / mm, voxels)
        for middle, mm, voxels in zip((low + high) / 2, spacing_mm, mask.shape, strict=True)
    )
    return Field(rows, columns, spacing_mm)


def _span(middle: float, length: float, voxels: int) -> slice:
    """So many of `voxels` around the middle, moved inside."""
    whole = min(voxels, max(1, round(length)))
    start = min(max(0, round(middle - whole / 2)), voxels - whole)
    return slice(start, start + whole)


def grey(plane: NDArray[np.float32], field: Field, window: Window, pixel_mm: float) -> Pixels:
    """A slice as an RGB picture with square pixels.

    Args:
        plane: (rows, columns).
        field: the rectangle to show.
        window: the values that become black and white.
        pixel_mm: side of a pixel in mm.

    Returns:
        (rows, columns, 3).
    """
    low, high = window
    scaled = np.clip((field.of(plane).astype(np.float64) - low) / max(high - low, 1e-6), 0, 1)
    levels = (_resampled(scaled, field, pixel_mm, order=1) * 255).round().astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def overlay(
    picture: Pixels, prediction: Mask | Labels, reference: Mask | Labels, field: Field, pixel_mm: float
) -> Pixels:
    """Draw errors into a picture: true positives filled, false positives striped, false negatives outlined.

    Lesion voxels with the number of another class are chequered.

    Args:
        picture: (rows, columns, 3), from `grey` with the same field and pixel size.
        prediction: mask or class numbers of the slice, (rows, columns) of voxels.
        reference: mask or class numbers of the slice, (rows, columns) of voxels.
        field: the rectangle that the picture shows.
        pixel_mm: side of a pixel in mm.

    Returns:
        A new picture, (rows, columns, 3).
    """
    number, right = (_enlarged(labels, field, pixel_mm) for labels in (prediction, reference))
    predicted, true = number > 0, right > 0
    picture = _painted(picture, true & (number == right), TRUE_POSITIVE, 0.75)
    picture = _painted(picture, predicted & ~true & _stripes(predicted.shape), FALSE_POSITIVE, 0.95)
    wrong = predicted & true & (number != right)
    picture = _painted(_painted(picture, wrong, WRONG_CLASS, 0.45), wrong & _chequers(wrong.shape), WRONG_CLASS, 1.0)
    missed = true & ~predicted
    return _painted(_painted(picture, missed, FALSE_NEGATIVE, 0.35), _outline(missed), FALSE_NEGATIVE, 1.0)


def label_map(picture: Pixels, labels: Labels, field: Field, pixel_mm: float) -> Pixels:
    """The picture (rows, columns, 3) with each class of `labels` (rows, columns) of voxels in its own colour."""
    numbers = _enlarged(labels, field, pixel_mm)
    for number in np.unique(numbers[numbers > 0]):
        turn, place = divmod(int(number) - 1, len(CLASSES))
        where = numbers == number
        picture = _painted(picture, where & _stripes(where.shape) if turn else where, CLASSES[place], 0.8)
    return picture


def outlined(picture: Pixels, mask: Mask, field: Field, pixel_mm: float, colour: str) -> Pixels:
    """The picture (rows, columns, 3) with a thin line around a mask (rows, columns) of voxels, outside of it."""
    from scipy import ndimage

    inside = _enlarged(mask, field, pixel_mm) > 0
    return _painted(picture, np.asarray(ndimage.binary_dilation(inside)) & ~inside, colour, 1.0)


def filled(
    picture: Pixels, mask: Mask, field: Field, pixel_mm: float, colour: str = REFERENCE, share: float = 0.75
) -> Pixels:
    """The picture (rows, columns, 3) with a mask (rows, columns) of voxels filled; `share`: 1 hides what is below."""
    return _painted(picture, _enlarged(mask, field, pixel_mm) > 0, colour, share)


def with_reference(picture: Pixels, reference: Mask, field: Field, pixel_mm: float) -> Pixels:
    """The picture (rows, columns, 3) with the reference mask filled."""
    return filled(picture, reference, field, pixel_mm)


def framed(picture: Pixels, outer: Field, inner: Field, pixel_mm: float) -> Pixels:
    """The picture of `outer`, (rows, columns, 3), with a thin white rectangle around `inner`."""
    start_mm = (
        (inner.rows.start - outer.rows.start) * outer.spacing_mm[0],
        (inner.columns.start - outer.columns.start) * outer.spacing_mm[1],
    )
    top, left = (max(0, round(start / pixel_mm)) for start in start_mm)
    height, width = (round(size / pixel_mm) for size in inner.size_mm)
    box = np.zeros(picture.shape[:2], dtype=bool)
    box[top : top + height, left : left + width] = True
    return _painted(picture, _outline(box), "#ffffff", 0.8)


def _resampled(plane: NDArray[np.float64], field: Field, pixel_mm: float, order: Literal[0, 1]) -> NDArray[np.float64]:
    from scipy import ndimage

    rows, columns = (round(size * mm / pixel_mm) / size for size, mm in zip(plane.shape, field.spacing_mm, strict=True))
    return np.asarray(ndimage.zoom(plane, (rows, columns), order=order, mode="nearest", grid_mode=True))


def enlarged(plane: NDArray[Any], field: Field, pixel_mm: float) -> NDArray[np.float64]:
    """The voxels of a slice (rows, columns) inside the field, each as large as its pixels in the picture."""
    return _resampled(field.of(plane).astype(np.float64), field, pixel_mm, order=0)


def _enlarged(labels: Mask | Labels, field: Field, pixel_mm: float) -> Labels:
    return enlarged(labels, field, pixel_mm).round().astype(np.uint8)


def _stripes(shape: tuple[int, ...]) -> Mask:
    rows, columns = np.indices(shape)
    return np.asarray((rows + columns) % STRIPE_PIXELS < STRIPE_PIXELS * 2 // 3)


def _chequers(shape: tuple[int, ...]) -> Mask:
    rows, columns = np.indices(shape) // 2
    return np.asarray((rows + columns) % 2 == 0)


def _outline(mask: Mask) -> Mask:
    from scipy import ndimage

    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=2))


def _painted(picture: Pixels, where: Mask, colour: str, share: float) -> Pixels:
    rgb = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    painted = picture.astype(np.float64)
    painted[where] = (1 - share) * painted[where] + share * rgb
    return painted.round().astype(np.uint8)
