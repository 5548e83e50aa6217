"""The method without training: a threshold on the smoothed difference of the visits.

It marks voxels whose z-scored difference, smoothed in plane, is above a threshold and whose follow-up is bright, in
components that are large enough. Every trained network should score better.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.components import label_components
from lesionloss.data.prepared import PreparedCase

NAME = "difference threshold (no training)"
_COARSE = 1.5  # an axis whose spacing is this many times the finest is through-plane and is not smoothed


@dataclass(frozen=True)
class DifferenceSettings:
    """Settings of the method.

    Attributes:
        smoothing_mm: Standard deviation of the Gaussian filter in mm.
        threshold: Smallest difference in z-scores.
        bright: Smallest follow-up intensity in z-scores.
        smallest_mm3: Components up to this volume in mm³ are removed.
    """

    smoothing_mm: float = 1.0
    threshold: float = 1.0
    bright: float = 0.5
    smallest_mm3: float = 15.0


def difference_mask(case: PreparedCase, settings: DifferenceSettings) -> NDArray[np.bool_]:
    """Mark new lesions without a network.

    Args:
        case: A case with the image channels baseline, follow-up and difference, (3, X, Y, Z).
        settings: Smoothing and thresholds.

    Returns:
        The mask (X, Y, Z).
    """
    from scipy import ndimage

    spacing = np.asarray(case.spacing_mm)
    sigma = np.where(spacing < _COARSE * spacing.min(), settings.smoothing_mm / spacing, 0.0)
    smooth = ndimage.gaussian_filter(case.image[2], sigma)
    mask = (smooth > settings.threshold) & (case.image[1] > settings.bright) & case.brain
    components, _ = label_components(mask, 26)
    voxels = np.bincount(components.ravel())
    large = voxels * float(np.prod(spacing)) > settings.smallest_mm3
    large[0] = False
    return np.asarray(large[components])
