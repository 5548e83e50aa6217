"""Intensities made comparable between visits."""

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.data.subject import Image, Mask


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
    deviation = float(inside.std())
    if not deviation > 0:
        raise DataError(
            f"{what}: all {inside.size} voxels inside the brain mask are equal; does the mask belong to this image?"
        )
    return np.asarray((image - np.float32(inside.mean())) / np.float32(deviation), dtype=np.float32)
