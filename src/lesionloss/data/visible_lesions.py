"""References as people draw them: nobody marks a change that is lost in the noise of the images."""

from dataclasses import replace

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.data.prepared import PreparedCase

FEWEST = 3  # voxels of a lesion that is marked


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
