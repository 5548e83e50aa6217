"""Changes of intensity for all patches of a batch at once, on a device: the effects of `intensity_changes`.

A patch whose change was not drawn keeps its intensities exactly.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from numpy.polynomial.legendre import legvander
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from lesionloss.data.batches.augmentation import DrawnPatch, difference_channels, visit_channels
from lesionloss.data.batches.device_positions import upload
from lesionloss.data.batches.intensity_changes import (
    AddedNoise,
    BiasGain,
    Gain,
    IntensityChange,
    Power,
    Smoothing,
    Stretch,
)

EPSILON = 1e-7  # of MONAI's AdjustContrast
Doubles = npt.NDArray[np.float64]
Array = npt.NDArray[np.float32] | Doubles
C = TypeVar("C", bound=IntensityChange)


def change_batch(images: Tensor, channels: tuple[str, ...], drawn: Sequence[DrawnPatch]) -> Tensor:
    """Change the intensities of all visits, and subtract them again.

    Args:
        images: Float32 (B, C, *size).
        channels: Names of the channels.
        drawn: What was drawn for each of B patches.

    Returns:
        New images (B, C, *size), channels last in memory, 0 where all visits were 0.
    """
    visits = visit_channels(channels)
    values = torch.stack([images[:, visit] for visit in visits], dim=1)
    inside = (values != 0).any(dim=1, keepdim=True)
    for changes in zip(*(patch.changes for patch in drawn), strict=True):
        applied = np.array([change is not None for change in changes])
        if applied.any():
            changed = _changed(changes, values, inside)
            values = torch.where(upload(applied, images.device).reshape(-1, *[1] * (images.ndim - 1)), changed, values)
    if drawn[0].changes:
        values = values * inside
    made = {visit: values[:, place] for place, visit in enumerate(visits)}
    for index, (followup, baseline) in difference_channels(channels).items():
        made[index] = made[followup] - made[baseline]
    return torch.stack([made[index] for index in range(len(channels))], dim=-1).movedim(-1, 1)


def _changed(changes: Sequence[IntensityChange | None], values: Tensor, inside: Tensor) -> Tensor:
    """Values (B, V, *size) after a change; of patches without one, anything. `inside` (B, 1, *size)."""
    match next(change for change in changes if change is not None):
        case Gain():
            return _gained(_of(Gain, changes), values, inside)
        case Stretch():
            return _stretched(_of(Stretch, changes), values, inside)
        case Power():
            return _raised(_of(Power, changes), values)
        case AddedNoise():
            return values + _stacked(
                [None if change is None else change.noise for change in _of(AddedNoise, changes)], values
            )
        case Smoothing():
            return _smoothed(_of(Smoothing, changes), values)
        case BiasGain():
            return _biased(_of(BiasGain, changes), values)


def _of(kind: type[C], changes: Sequence[IntensityChange | None]) -> list[C | None]:
    return [change if isinstance(change, kind) else None for change in changes]


def _stacked(arrays: Sequence[Array | None], values: Tensor) -> Tensor:
    """Arrays (V, ...) of all patches as float32 (B, V, ...) beside the values, with 0 for None."""
    like = next(array for array in arrays if array is not None)
    whole = np.stack([np.zeros_like(like) if array is None else array for array in arrays]).astype(np.float32)
    return upload(whole, values.device)


def _factors(arrays: Sequence[Array | None], values: Tensor) -> Tensor:
    """Numbers (V,) of all patches, as (B, V, 1, ...)."""
    return _stacked(arrays, values).reshape(*values.shape[:2], *[1] * (values.ndim - 2))


def _space(values: Tensor) -> tuple[int, ...]:
    return tuple(range(2, values.ndim))


def _gained(changes: Sequence[Gain | None], values: Tensor, inside: Tensor) -> Tensor:
    scaled = values * _factors([None if change is None else change.scale for change in changes], values)
    shifts = [None if change is None else change.shift for change in changes]
    return scaled if all(shift is None for shift in shifts) else scaled + _factors(shifts, values) * inside


def _stretched(changes: Sequence[Stretch | None], values: Tensor, inside: Tensor) -> Tensor:
    space = _space(values)
    mean = (values * inside).sum(space, keepdim=True) / inside.sum(space, keepdim=True).clamp(min=1)
    stretched = (values - mean) * _factors(
        [None if change is None else change.factors for change in changes], values
    ) + mean
    return stretched.clamp(values.amin(space, keepdim=True), values.amax(space, keepdim=True))


def _raised(changes: Sequence[Power | None], values: Tensor) -> Tensor:
    low = values.amin(_space(values), keepdim=True)
    extent = values.amax(_space(values), keepdim=True) - low
    exponents = _factors([None if change is None else change.exponents for change in changes], values)
    return ((values - low) / (extent + EPSILON)) ** exponents * extent + low


def _smoothed(changes: Sequence[Smoothing | None], values: Tensor) -> Tensor:
    for axis, length in enumerate(values.shape[2:]):
        matrices = [None if change is None else _gaussians(length, change.deviations) for change in changes]
        values = _mapped(_stacked(matrices, values), values, axis)
    return values


def _gaussians(length: int, deviations: Doubles) -> Doubles:
    """The matrices (V, n, n) by which SciPy's Gaussian filters map an axis, borders included."""
    identity = np.eye(length)
    return np.stack([gaussian_filter1d(identity, each, axis=0) if each else identity for each in deviations])


def _biased(changes: Sequence[BiasGain | None], values: Tensor) -> Tensor:
    level = next(change.level for change in changes if change is not None)
    field = _stacked([None if change is None else change.coefficients for change in changes], values)
    for axis, length in enumerate(values.shape[2:]):
        basis = legvander(np.linspace(-1.0, 1.0, length, dtype=np.float32), field.shape[2 + axis] - 1)
        field = _mapped(upload(basis.astype(np.float32), values.device), field, axis)
    return (values + level) * field.exp() - level


def _mapped(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    """Map an axis of space, of length n, of values (B, V, *size) by matrices (..., m, n)."""
    first = values.movedim(2 + axis, 2)
    mapped: Tensor = matrix @ first.flatten(3)
    return mapped.reshape(*mapped.shape[:3], *first.shape[3:]).movedim(2, 2 + axis)
