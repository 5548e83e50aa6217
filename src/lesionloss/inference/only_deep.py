"""No lesions near the surface of the brain, whose edge differs between visits; a model's record says how near."""

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.difference_threshold import depth_below_surface_mm


def only_deep(probabilities: NDArray[np.float32], case: PreparedCase, depth_mm: float) -> NDArray[np.float32]:
    """Set probabilities to 0 near the outside of the brain mask.

    Args:
        probabilities: (L, *space) on the case's grid.
        case: The prepared case.
        depth_mm: Smallest distance of a lesion from the outside of the brain mask; 0 changes nothing.

    Returns:
        (L, *space).

    Raises:
        DataError: No voxel of the brain mask is as deep.
    """
    return np.where(deep_voxels(case, depth_mm), probabilities, np.float32(0)) if depth_mm else probabilities


def deep_voxels(case: PreparedCase, depth_mm: float) -> NDArray[np.bool_]:
    """Where the brain mask is at least so deep, (*space).

    Raises:
        DataError: Nowhere, as in a mask of lesions.
    """
    deep = depth_below_surface_mm(case.brain, case.spacing_mm) >= depth_mm
    if not deep.any():
        ml = np.count_nonzero(case.brain) * float(np.prod(case.spacing_mm)) / 1000
        raise DataError(
            f"{case.name}: no voxel of the brain mask ({ml:.1f} ml) lies {depth_mm:g} mm inside it, where this model "
            "looks for lesions; give the mask of the whole brain, not of lesions"
        )
    return deep
