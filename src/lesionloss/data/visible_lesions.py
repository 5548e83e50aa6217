"""References as people draw them: nobody marks a change that is lost in the noise of the images."""

from dataclasses import replace

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image

FEWEST = 3  # voxels of a lesion that is marked
REACH = 2.5  # voxels beyond the exact lesion that its outline may reach


def visible_only(case: PreparedCase, least_rise: float) -> PreparedCase:
    """Remove the reference lesions (26-connected) that differ too little between the visits to be seen.

    Exact references of synthetic patients hold lesions of any faintness; those of real patients do not. Lesions of at
    least three voxels are kept if the absolute value of their mean difference (z-scores) is above `least_rise`.

    Args:
        case: A prepared case with a difference channel.
        least_rise: Smallest mean difference of a visible lesion, in standard deviations.

    Returns:
        The case with the visible lesions only.

    Raises:
        DataError: The case has no difference channel.
    """
    if "difference" not in case.channels:
        raise DataError(f"{case.name}: no difference of visits to see a change in, only {', '.join(case.channels)}")
    difference = case.image[case.channels.index("difference")].ravel().astype(np.float64)
    components, _ = label_components(case.lesion, 26)
    voxels = np.bincount(components.ravel())
    rise = np.abs(np.bincount(components.ravel(), weights=difference)) / np.maximum(voxels, 1)
    kept = (rise > least_rise) & (voxels >= FEWEST)
    kept[0] = False
    return replace(case, reference=np.where(kept[components], case.reference, np.uint8(0)))


def outlined(case: PreparedCase, rise: Image, share: float) -> PreparedCase:
    """Outline the reference lesions where their signal falls to a share of its highest value.

    People outline a lesion in a blurred image, and generously: they also mark voxels at its border that hold less than
    half of a lesion. An exact reference holds the voxels that are at least half lesion.

    Args:
        case: A prepared case of one class, its reference exact.
        rise: What lesions add to the follow-up less what they add to the baseline (*space), without noise.
        share: From 0 to 1. The highest value is the 90th percentile within the exact lesion.

    Returns:
        The case with lesions that hold their exact voxels, and those up to 2 voxels away whose rise is that share.
    """
    from scipy import ndimage

    components, count = label_components(case.lesion, 26)
    if not count:
        return case
    inside, signals = components[case.lesion], rise[case.lesion]
    highest = [np.percentile(signals[inside == number], 90) for number in range(1, count + 1)]
    limits = np.array([np.inf, *highest])
    distance, nearest = ndimage.distance_transform_edt(components == 0, return_indices=True)
    own = components[tuple(nearest)]
    near = (distance <= REACH) & case.brain & (rise > 0)
    return replace(case, reference=(case.lesion | (near & (rise >= share * limits[own]))).astype(np.uint8))
