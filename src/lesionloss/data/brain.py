"""A simple brain mask for images that come without one. It keeps much of the skull: a real mask is better."""

import numpy as np
import numpy.typing as npt

from lesionloss.data.subject import Image, Mask
from lesionloss.errors import DataError

BINS = 256
# Half the thickness of the bridges between brain and scalp that opening removes.
OPENING_MM = 3.0
# The brightest voxels say nothing about the border between head and air.
BRIGHTEST_SHARE = 0.005


def otsu_threshold(values: npt.NDArray[np.float32]) -> float:
    """The threshold that best separates two classes of values: largest variance between them (Otsu 1979, eq. 18)."""
    top = float(np.quantile(values, 1 - BRIGHTEST_SHARE))
    counts, edges = np.histogram(np.minimum(values, top), bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * centres)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (mean_below - mean_above) ** 2)])


def simple_brain(image: Image, spacing_mm: tuple[float, float, float], what: str) -> Mask:
    """Otsu threshold, opening by 3 mm, largest component (connectivity 6), holes filled. Image and mask are (X, Y, Z).

    Raises DataError, which names `what`, if nothing is left.
    """
    import cc3d
    from scipy import ndimage

    head = image > otsu_threshold(image)
    core = ndimage.distance_transform_edt(head, sampling=spacing_mm) > OPENING_MM
    opened = head & (ndimage.distance_transform_edt(~core, sampling=spacing_mm) <= OPENING_MM)
    seed = opened if core.any() else head
    largest = cc3d.largest_k(seed.astype(np.uint8), k=1, connectivity=6) > 0
    filled = np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)
    if not filled.any():
        raise DataError(f"{what}: no brain could be told from the background; supply a brain mask")
    return filled
