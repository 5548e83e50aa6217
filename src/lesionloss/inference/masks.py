"""From probabilities to lesions."""

import numpy as np
from numpy.typing import NDArray

from lesionloss.metrics.components import fewest_voxels, find_lesions
from lesionloss.metrics.thresholds import is_lesion


def lesion_probability(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability (*space) of any lesion, from those of the lesion classes (L, *space)."""
    return probabilities[0] if len(probabilities) == 1 else np.asarray(probabilities.sum(axis=0).clip(0, 1))


def lesion_mask(
    probabilities: NDArray[np.float32],
    *,
    threshold: float,
    voxel_mm3: float,
    min_volume_mm3: float = 0.0,
    connectivity: int = 6,
) -> NDArray[np.uint8]:
    """Class numbers (*space), 0 background, from probabilities (L, *space).

    Lesion is where the probability of any lesion is at least `threshold`; its class is the most probable one.
    Components of `min_volume_mm3` or less are left out, whatever their classes. Raises UsageError for another
    connectivity than 6, 18 and 26.
    """
    lesion = is_lesion(lesion_probability(probabilities), threshold)
    if min_volume_mm3 > 0:
        lesion = _large(lesion, fewest_voxels(min_volume_mm3, voxel_mm3), connectivity)
    classes = probabilities.argmax(axis=0).astype(np.uint8) + np.uint8(1)
    return np.where(lesion, classes, np.uint8(0))


def numbered_lesions(mask: NDArray[np.bool_], connectivity: int = 6) -> NDArray[np.int32]:
    """Lesions as numbers (*space), from 1 for the largest; 0 is background."""
    return _numbered(mask, 1, connectivity)


def _large(mask: NDArray[np.bool_], fewest: int, connectivity: int) -> NDArray[np.bool_]:
    return _numbered(mask, fewest, connectivity) > 0


def _numbered(mask: NDArray[np.bool_], fewest: int, connectivity: int) -> NDArray[np.int32]:
    numbers = np.zeros(mask.shape, dtype=np.int32)
    if mask.any():
        found = find_lesions(np.ascontiguousarray(mask), connectivity, fewest)
        numbers[mask] = np.repeat(found.labels, found.runs.sizes)  # runs and voxels come in the same order
    return numbers
