"""Intensities made comparable between visits."""

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.subject import Image, Mask

NORMAL_MAD = 1.4826  # standard deviation of a normal distribution / its median absolute deviation


def z_score(image: Image, brain: Mask, what: str) -> Image:
    """Subtract the mean of the brain's voxels and divide by their standard deviation.

    Skull and background have no influence; voxels outside the brain are transformed in the same way.

    Args:
        image: Intensities (*space).
        brain: Brain mask (*space).
        what: The image in error messages.

    Returns:
        Z-scores float32 (*space).

    Raises:
        DataError: All brain voxels are equal.
    """
    inside = image[brain].astype(np.float64)
    deviation = _positive(float(inside.std()), inside.size, what)
    return np.asarray((image - np.float32(inside.mean())) / deviation, dtype=np.float32)


def robust_z_score(image: Image, brain: Mask, what: str) -> Image:
    """Subtract the median of the brain's voxels and divide by their median absolute deviation, scaled.

    Lesions, vessels and what is left of skull and fluid have next to no influence. The deviation is multiplied by
    `NORMAL_MAD`, so that intensities of a normal distribution get the same z-scores as by `z_score`.

    Args:
        image: Intensities (*space).
        brain: Brain mask (*space).
        what: The image in error messages.

    Returns:
        Z-scores float32 (*space); voxels outside the brain are transformed in the same way.

    Raises:
        DataError: More than half of the brain voxels are equal.
    """
    inside = image[brain].astype(np.float64)
    middle = float(np.median(inside)) if inside.size else 0.0
    deviation = NORMAL_MAD * float(np.median(np.abs(inside - middle))) if inside.size else 0.0
    return np.asarray(
        (image - np.float32(middle)) / _positive(deviation, inside.size, what, "more than half of the"),
        dtype=np.float32,
    )


def unit_range(image: Image, brain: Mask, what: str) -> Image:
    """Scale the brain's voxels to [0, 1]: the lowest becomes 0, the highest 1.

    Args:
        image: Intensities (*space).
        brain: Brain mask (*space).
        what: The image in error messages.

    Returns:
        Intensities float32 (*space); voxels outside the brain are transformed in the same way.

    Raises:
        DataError: All brain voxels are equal.
    """
    inside = image[brain]
    low, high = (inside.min(), inside.max()) if inside.size else (0.0, 0.0)
    return np.asarray((image - low) / _positive(float(high) - float(low), inside.size, what), dtype=np.float32)


def _positive(spread: float, voxels: int, what: str, share: str = "all") -> np.float32:
    """The spread of the brain's voxels. Raises DataError where they are equal."""
    if not spread > 0:
        raise DataError(
            f"{what}: {share} {voxels} voxels inside the brain mask are equal; does the mask belong to this image?"
        )
    return np.float32(spread)
