"""References as people draw them: a change that drowns in the noise of the images is marked by nobody."""

from dataclasses import replace

import numpy as np

from lesionloss.core.components import label_components
from lesionloss.core.errors import DataError
from lesionloss.data.prepared import PreparedCase

FEWEST = 3  # voxels of a lesion that is marked


def visible_only(case: PreparedCase, least_rise: float) -> PreparedCase:
    """A case without the reference lesions (26-connected) that differ too little between the visits to be seen.

    Kept are those of at least three voxels whose mean difference (z-scores, either sign) is above `least_rise`. Exact
    references of synthetic patients hold lesions of any faintness; those of real ones do not. Raises DataError for a
    case without a difference.
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
