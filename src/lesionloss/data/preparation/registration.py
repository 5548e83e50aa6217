"""Rigid registration of two visits by SimpleITK.

A motion is a (4, 4) matrix: a rotation and a shift between points in millimetres.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.resampling.simpleitk import TO_LPS, itk_image, itk_module, one_thread
from lesionloss.data.volume import Affine

# An image (X, Y, Z) and its affine (4, 4).
Visit = tuple[npt.NDArray[np.float32], Affine]

# Coarse, then fine: about how large voxels are made, how much they are smoothed, how many are looked at.
LEVELS_MM = (3.0, 1.5)
SMOOTHING_MM = (2.0, 1.0)
SAMPLES = (30_000, 100_000)
SAMPLING_SEED = 1
HISTOGRAM_BINS = 48
ITERATIONS = 60


@dataclass(frozen=True)
class Motion:
    """A rigid motion between two visits, and the evidence for it.

    Attributes:
        matrix: Rows (4, 4): points of the fixed image to points of the moving one, in mm.
        rotation_degrees: Angle of the rotation.
        shift_mm: Displacement of the middle of the image.
        similarity: Mutual information of the aligned visits.
        before: Mutual information without any motion.
    """

    matrix: tuple[tuple[float, ...], ...]
    rotation_degrees: float
    shift_mm: float
    similarity: float
    before: float

    @property
    def affine(self) -> Affine:
        """The motion as an array (4, 4)."""
        return np.array(self.matrix, dtype=np.float64)


def find_motion(fixed: Visit, moving: Visit, what: str) -> Motion:
    """Find the rigid motion that takes points of the fixed visit to points of the moving one.

    It maximises mutual information (Mattes 2003) over two resolutions, from the centres of mass. Samples are drawn by a
    fixed seed and on one thread, so the result is repeatable.

    Args:
        fixed: Image (X, Y, Z) and affine (4, 4) of one visit.
        moving: Image and affine of the other.
        what: The visits in error messages.

    Returns:
        The motion.

    Raises:
        DataError: The visits have nothing in common, or an affine is sheared.
    """
    itk = itk_module()
    with one_thread(itk):
        found, before, after = _best(itk, fixed, moving, what)
    matrix = _matrix(found)
    middle = fixed[1] @ np.array([*((n - 1) / 2 for n in fixed[0].shape), 1.0])
    angle = float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))
    return Motion(
        matrix=tuple(tuple(float(x) for x in row) for row in matrix),
        rotation_degrees=angle,
        shift_mm=float(np.linalg.norm((matrix @ middle - middle)[:3])),
        similarity=after,
        before=before,
    )


def _best(itk: Any, fixed: Visit, moving: Visit, what: str) -> tuple[Any, float, float]:
    """The best transform, and the mutual information before and after."""
    images = [itk_image(_squeezed(array), affine, what) for array, affine in (fixed, moving)]
    start = itk.CenteredTransformInitializer(
        *images, itk.Euler3DTransform(), itk.CenteredTransformInitializerFilter.MOMENTS
    )
    still = itk.Euler3DTransform()
    still.SetCenter(itk.Euler3DTransform(start).GetCenter())
    try:
        values = [-float(_method(itk, first, images[0]).MetricEvaluate(*images)) for first in (start, still)]
        best = _method(itk, start if values[0] > values[1] else still, images[0]).Execute(*images)
        best = best.GetNthTransform(0) if isinstance(best, itk.CompositeTransform) else best
        return best, values[1], -float(_method(itk, best, images[0]).MetricEvaluate(*images))
    except RuntimeError as error:
        raise DataError(f"{what}: the visits can't be registered; check that they show the same head") from error


def _squeezed(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The image between its 1st and 99.5th percentile: few bright voxels must not fill the histogram."""
    low, high = (float(value) for value in np.percentile(array[::2, ::2, ::2], (1, 99.5)))
    return array.clip(low, high if high > low else low + 1)


def _method(itk: Any, start: Any, fixed: Any) -> Any:
    edge, voxels = min(fixed.GetSpacing()), math.prod(fixed.GetSize())
    shrink = [max(1, round(level / edge)) for level in LEVELS_MM]
    shares = [min(1.0, wanted * factor**3 / voxels) for wanted, factor in zip(SAMPLES, shrink, strict=True)]
    method = itk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentagePerLevel(shares, SAMPLING_SEED)
    method.SetInterpolator(itk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, ITERATIONS, 0.5, 1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel(SMOOTHING_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    return method


def _matrix(transform: Any) -> Affine:
    """A SimpleITK transform as a matrix between points in NIfTI's millimetres."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint([float(axis == k) for k in range(3)])) - origin
    matrix[:3, 3] = origin
    return np.asarray(TO_LPS @ matrix @ TO_LPS)


def half_motion(motion: Affine) -> Affine:
    """Halve a rigid motion: the result, done twice, is the motion.

    Args:
        motion: Affine (4, 4).

    Returns:
        Affine (4, 4): half the angle about the same axis.
    """
    from scipy import linalg

    return np.asarray(np.real(linalg.sqrtm(motion)), dtype=np.float64)


def halfway_grid(fixed: VoxelGrid, half_motion: Affine) -> VoxelGrid:
    """Make the grid between two visits: that of the fixed visit, its middle moved by half the motion.

    Its axes are not rotated with the head, so that both visits are interpolated alike.

    Args:
        fixed: The grid of the fixed visit.
        half_motion: Affine (4, 4) of half the motion.

    Returns:
        The grid.
    """
    middle = fixed.affine @ np.array([*((n - 1) / 2 for n in fixed.shape), 1.0])
    affine = fixed.affine.copy()
    affine[:3, 3] += (half_motion @ middle - middle)[:3]
    return VoxelGrid(fixed.shape, affine)
