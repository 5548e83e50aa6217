"""From probabilities to lesions."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import DataError, UsageError, shown
from lesionloss.metrics.lesion_components import fewest_voxels, find_lesions
from lesionloss.metrics.thresholds import is_lesion


@with_checked_types
def lesion_probability(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability (*space) of any lesion, from those of the lesion classes (L, *space).

    Raises:
        DataError: for another number of axes.
    """
    if probabilities.ndim not in (3, 4) or not len(probabilities):
        raise DataError(f"probabilities: expected (classes, *space), got shape {probabilities.shape}")
    return probabilities[0] if len(probabilities) == 1 else np.asarray(probabilities.sum(axis=0).clip(0, 1))


def above_threshold(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Where (*space) the probability of any lesion is at least the threshold."""
    return is_lesion(lesion_probability(probabilities), threshold)


def above_background(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Where (*space) a lesion class is more probable than the background; the threshold is not used."""
    return np.asarray(probabilities.max(axis=0) > 1 - lesion_probability(probabilities))


# By which of them a voxel (*space) is lesion, from the probabilities (L, *space) of the lesion classes.
DECISIONS: Mapping[str, Callable[[NDArray[np.float32], float], NDArray[np.bool_]]] = {
    "threshold": above_threshold,
    "argmax": above_background,
}


@with_checked_types
def lesion_mask(
    probabilities: NDArray[np.float32],
    *,
    threshold: float,
    voxel_mm3: float,
    min_volume_mm3: float = 0.0,
    connectivity: int = 6,
    decision: str = "threshold",
) -> NDArray[np.uint8]:
    """Class numbers from the probabilities of the lesion classes.

    A voxel is lesion as `decision` says; its class is the most probable one.

    Args:
        probabilities: (L, *space), those of the lesion classes.
        threshold: A number from 0 to 1, for the decision by threshold.
        voxel_mm3: Volume of a voxel in mm3.
        min_volume_mm3: Lesions of this volume or less, whatever their classes, are left out.
        connectivity: 6, 18 or 26 neighbours, which make one lesion.
        decision: `threshold`: where the probability of any lesion is at least `threshold`; `argmax`: where one lesion
            class is more probable than the background.

    Returns:
        (*space): 0 for background, from 1 on for the lesion classes.

    Raises:
        UsageError: for another connectivity or decision, and for volumes that are none.
        DataError: for probabilities with another number of axes.
    """
    if decision not in DECISIONS:
        raise UsageError(f"decision must be one of {', '.join(DECISIONS)}, got {shown(decision)}")
    lesion = DECISIONS[decision](probabilities, threshold)
    if min_volume_mm3 > 0:
        lesion = _numbered(lesion, fewest_voxels(min_volume_mm3, voxel_mm3), connectivity) > 0
    classes = probabilities.argmax(axis=0).astype(np.uint8) + np.uint8(1)
    return np.where(lesion, classes, np.uint8(0))


def numbered_lesions(mask: NDArray[np.bool_], connectivity: int = 6) -> NDArray[np.int32]:
    """Lesions of a mask (*space) as numbers (*space), from 1 for the largest; 0 is background."""
    return _numbered(mask, 1, connectivity)


def _numbered(mask: NDArray[np.bool_], fewest: int, connectivity: int) -> NDArray[np.int32]:
    found = find_lesions(np.ascontiguousarray(mask), connectivity, fewest)
    return found.runs.filled(found.labels)
