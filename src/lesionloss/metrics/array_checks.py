"""Checks of masks, probability maps and spacings. Legend: `*space` is 2-D or 3-D."""

import math
from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError, shown

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def as_array(name: str, value: Any) -> NDArray[Any]:
    """A value as an array (*space) that isn't empty.

    Raises:
        DataError: for anything else; `name` says in the message what it was.
    """
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the object raises
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{name}: not an array ({reason}); pass a NumPy array, or tensor.detach().float().cpu().numpy()"
        ) from error
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(
            f"{name}: expected a 2-D or 3-D array, got shape {array.shape}; pass one image without channels"
        )
    return array


def as_mask(name: str, value: Any) -> Mask:
    """A mask (*space) as booleans, without a copy where the bytes allow it.

    Raises:
        DataError: for values other than 0 and 1.
    """
    array = as_array(name, value)
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name}: expected a mask of 0 and 1, got dtype {array.dtype}; convert it to bool")
    lowest, highest = array.min(), array.max()
    whole = array.dtype.kind != "f" or bool(np.all((array == 0) | (array == 1)))
    if not (whole and lowest >= 0 and highest <= 1):
        raise DataError(
            f"{name}: expected a mask of 0 and 1, got values from {lowest:g} to {highest:g}; "
            "choose a label with `mask == label`, or round a resampled mask"
        )
    return array.view(np.bool_) if array.dtype.itemsize == 1 else array != 0


def as_probability(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """A map of floats from 0 to 1.

    Raises:
        DataError: for NaN and for other values.
    """
    if value.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected probabilities from 0 to 1, got dtype {value.dtype}")
    lowest, highest = value.min(), value.max()
    if not (lowest >= 0 and highest <= 1):
        raise DataError(
            f"{name}: expected probabilities from 0 to 1, got values from {lowest:g} to {highest:g}; "
            "apply the sigmoid to logits, divide an 8-bit map by 255"
        )
    return value


def as_threshold(threshold: object) -> float:
    """A threshold as a plain float.

    Raises:
        DataError: outside [0, 1].
    """
    try:
        number = float(threshold) if isinstance(threshold, SupportsFloat) else math.nan
    except (TypeError, ValueError, RuntimeError, OverflowError):  # an array of several numbers
        number = math.nan
    if not 0 <= number <= 1:
        raise DataError(f"threshold: expected a number from 0 to 1, got {shown(threshold)}")
    return number


def as_spacing(spacing_mm: Sequence[float], dimensions: int) -> tuple[float, ...]:
    """Voxel size in mm along each axis.

    Raises:
        DataError: for another number of axes, or a value that is not a positive number.
    """
    try:
        spacing = () if isinstance(spacing_mm, str | bytes) else tuple(float(step) for step in spacing_mm)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        spacing = ()
    if len(spacing) != dimensions or not all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise DataError(f"spacing_mm: expected {dimensions} positive numbers in mm, got {shown(spacing or spacing_mm)}")
    return spacing


def same_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check that an array has the shape of the prediction.

    Raises:
        DataError: if it has not.
    """
    if array.shape != shape:
        raise DataError(f"{name}: shape {array.shape} differs from the prediction's {shape}; bring both to one grid")
