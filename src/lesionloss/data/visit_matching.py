"""Intensities of a baseline matched to its follow-up, so that their difference shows change and not the scanner.

Two visits differ in gain and offset, and slowly over the brain by what is left of the bias fields. The first is removed
by a robust line, the second by a local mean. Voxels that differ far more than the others, lesions among them, have no
influence on either, so change itself is kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.data.subject import Image, Mask
from lesionloss.data.z_score import NORMAL_MAD

ROUNDS = 20


@dataclass(frozen=True)
class MatchSettings:
    """How visits are matched.

    Attributes:
        outliers: Residuals beyond so many standard deviations (by the median absolute deviation) have no influence.
        local_mm: Standard deviation of the Gaussian weights of the local mean, in mm; 0: no local mean.
    """

    outliers: float = 2.5
    local_mm: float = 12.0


def match_visits(
    baseline: Image, followup: Image, brain: Mask, spacing_mm: tuple[float, ...], settings: MatchSettings, what: str
) -> Image:
    """Match the baseline to the follow-up inside the brain.

    Args:
        baseline: Intensities (*space).
        followup: Intensities (*space) on the same grid.
        brain: Brain mask (*space).
        spacing_mm: Edge lengths of a voxel.
        settings: Limits of the influence of single voxels, and the width of the local mean.
        what: The case in error messages.

    Returns:
        The matched baseline float32 (*space): follow-up minus this is near 0 where nothing changed. 0
        outside the brain.

    Raises:
        DataError: The baseline is constant inside the brain.
    """
    before, after = (visit[brain].astype(np.float64) for visit in (baseline, followup))
    slope, offset, kept = _robust_line(before, after, settings.outliers, what)
    matched = np.zeros(baseline.shape, dtype=np.float32)
    matched[brain] = slope * before + offset
    if settings.local_mm:
        residual = np.zeros(baseline.shape, dtype=np.float32)
        residual[brain] = np.where(kept, after - slope * before - offset, 0.0)
        weight = np.zeros(baseline.shape, dtype=np.float32)
        weight[brain] = kept
        matched[brain] += _local_mean(residual, weight, spacing_mm, settings.local_mm)[brain]
    return matched


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Pearson's correlation of the intensities of two visits, rounded to four digits; 0 where one is constant."""
    one, other = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (first, second))
    norm = float(np.sqrt((one @ one) * (other @ other)))
    return round(float(one @ other) / norm, 4) if norm > 0 else 0.0


def _robust_line(
    before: NDArray[np.float64], after: NDArray[np.float64], outliers: float, what: str
) -> tuple[float, float, NDArray[np.bool_]]:
    """Slope and offset of the least-squares line through the voxels that are no outliers, and which those are."""
    kept = np.ones(before.shape, dtype=np.bool_)
    slope, offset = 1.0, 0.0
    for _ in range(ROUNDS):
        x, y = before[kept], after[kept]
        centred = x - x.mean()
        variance = float(centred @ centred)
        if not variance > 0:
            raise DataError(f"{what}: the first visit is constant inside the brain; its intensities can't be matched")
        slope = float(centred @ (y - y.mean())) / variance
        offset = float(y.mean() - slope * x.mean())
        residual = after - slope * before - offset
        middle = np.median(residual)
        spread = NORMAL_MAD * float(np.median(np.abs(residual - middle)))
        now = np.abs(residual - middle) <= outliers * spread
        if np.array_equal(now, kept) or np.count_nonzero(now) < 2:  # two points make a line
            break
        kept = now
    return slope, offset, kept


def _local_mean(residual: Image, weight: Image, spacing_mm: tuple[float, ...], local_mm: float) -> Image:
    """Weighted mean of the residual around each voxel; 0 where no voxel near has weight."""
    from scipy import ndimage

    sigma = [local_mm / edge for edge in spacing_mm]
    sums, weights = (ndimage.gaussian_filter(part, sigma, mode="constant", truncate=3.0) for part in (residual, weight))
    return np.asarray(np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 1e-3), dtype=np.float32)
