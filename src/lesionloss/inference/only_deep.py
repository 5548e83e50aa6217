"""No lesions near the surface of the brain, whose edge differs between visits; a model's record says how near."""

import numpy as np
from numpy.typing import NDArray

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
    """
    if not depth_mm:
        return probabilities
    deep = depth_below_surface_mm(case.brain, case.spacing_mm) >= depth_mm
    return np.where(deep, probabilities, np.float32(0))
