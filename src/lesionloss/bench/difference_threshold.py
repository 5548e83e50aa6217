"""The method without a network: what any trained network has to beat.

The z-scored difference of the visits, smoothed in plane, above a threshold, where the follow-up is bright for a brain,
in components that are large enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.data.prepared import PreparedCase

NAME = "difference threshold (no training)"
_COARSE = 1.5  # an axis whose spacing is this many times the finest is through-plane and is not smoothed


@dataclass(frozen=True)
class DifferenceSettings:
    """Standard deviation of the smoothing in mm, thresholds in z-scores, smallest component in mm³."""

    smoothing_mm: float = 1.0
    threshold: float = 1.0
    bright: float = 0.5
    smallest_mm3: float = 15.0


def difference_mask(case: PreparedCase, settings: DifferenceSettings) -> NDArray[np.bool_]:
    """New-lesion mask (X, Y, Z) from image (3, X, Y, Z) without learning anything."""
    import cc3d
    from scipy import ndimage

    spacing = np.asarray(case.spacing_mm)
    sigma = np.where(spacing < _COARSE * spacing.min(), settings.smoothing_mm / spacing, 0.0)
    smooth = ndimage.gaussian_filter(case.image[2], sigma)
    mask = (smooth > settings.threshold) & (case.image[1] > settings.bright) & case.brain
    components = cc3d.connected_components(mask, connectivity=26)
    voxels = np.bincount(components.ravel())
    large = voxels * float(np.prod(spacing)) > settings.smallest_mm3
    large[0] = False
    return np.asarray(large[components])
