"""Rigid registration of two visits, and arrays carried along a motion. SimpleITK does the work.

A motion is a (4, 4) matrix of plain numbers: a rotation and a shift between points in millimetres.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.data.resample import Grid, LesionCount, keep_lesions
from lesionloss.data.volume import Affine

# An image (X, Y, Z) and its affine (4, 4).
Visit = tuple[npt.NDArray[np.float32], Affine]

# SimpleITK counts x to the left and y to the back, NIfTI to the right and to the front.
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Coarse, then fine: about how large voxels are made, how much they are smoothed, how many are looked at.
LEVELS_MM = (3.0, 1.5)
SMOOTHING_MM = (2.0, 1.0)
SAMPLES = (30_000, 100_000)
SAMPLING_SEED = 1
HISTOGRAM_BINS = 48
ITERATIONS = 60
# Cosine between two axes above which voxels are no bricks and SimpleITK would misplace them.
SHEARED = 1e-3


@dataclass(frozen=True)
class Motion:
    """Where the second of two visits lies relative to the first, and how sure that is.

    `rotation_degrees` and `shift_mm` (at the middle of the image) sum up the matrix; `similarity` is the mutual
    information of the visits once aligned, `before` the same without moving anything.
    """

    matrix: tuple[tuple[float, ...], ...]
    rotation_degrees: float
    shift_mm: float
    similarity: float
    before: float

    @property
    def affine(self) -> Affine:
        """The motion as an array (4, 4): points of the fixed image to points of the moving one, in mm."""
        return np.array(self.matrix, dtype=np.float64)


@contextlib.contextmanager
def one_thread(itk: Any) -> Iterator[None]:
    """SimpleITK on one thread: the order in which threads add up would move the last digits of a result."""
    before = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def itk_module() -> Any:
    """SimpleITK, imported when first needed; its interface is untyped."""
    import SimpleITK

    return SimpleITK


def itk_image(array: npt.NDArray[Any], affine: Affine, what: str) -> Any:
    """An array (X, Y, Z) with its affine (4, 4) as a SimpleITK image. DataError, naming `what`, if it is sheared."""
    lps = TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > SHEARED:
        raise DataError(f"{what}: the axes of the affine are not at right angles; resample the image onto a plain grid")
    left, _, right = np.linalg.svd(direction)
    image = itk_module().GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([float(edge) for edge in spacing])
    image.SetOrigin([float(x) for x in lps[:3, 3]])
    image.SetDirection([float(x) for x in (left @ right).ravel()])
    return image


def register(fixed: Visit, moving: Visit, what: str) -> Motion:
    """The rigid motion that takes points of the fixed visit to points of the moving one.

    Each visit is an image (X, Y, Z) with its affine. Largest mutual information (Mattes 2003) over two resolutions,
    from the centres of mass; samples are drawn by a fixed seed and on one thread, so it is repeatable.
    Raises DataError, naming `what`, if the visits have nothing in common.
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
        raise DataError(f"{what}: the visits can't be registered; do they show the same head?") from error


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


def half(motion: Affine) -> Affine:
    """The motion that, done twice, is `motion`: half the angle about the same axis (4, 4)."""
    from scipy import linalg

    return np.asarray(np.real(linalg.sqrtm(motion)), dtype=np.float64)


def halfway_grid(fixed: Grid, half_motion: Affine) -> Grid:
    """The grid between two visits: size, axes and spacing of the fixed one, its middle moved along half the way.

    Its axes are not turned with the head, so that both visits are interpolated alike.
    """
    middle = fixed.affine @ np.array([*((n - 1) / 2 for n in fixed.shape), 1.0])
    affine = fixed.affine.copy()
    affine[:3, 3] += (half_motion @ middle - middle)[:3]
    return Grid(fixed.shape, affine)


def _through(source: Grid, target: Grid, motion: Affine) -> Affine:
    """Voxels of the target to voxels of the source; `motion` takes the target's points to the source's."""
    return np.asarray(np.linalg.inv(source.affine) @ motion @ target.affine)


def move_image(array: npt.NDArray[np.float32], source: Grid, target: Grid, motion: Affine) -> npt.NDArray[np.float32]:
    """An image (X, Y, Z) on the target's grid by cubic B-splines; 0 where it has nothing.

    `motion` (4, 4) takes points of the target's space to points of the source's, in mm. Values stay in their range.
    """
    itk = itk_module()
    resampler = itk.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)
    resampler.SetInterpolator(itk.sitkBSpline)
    # In voxels on both sides SimpleITK needs no directions, and so takes any affine.
    resampler.SetSize([int(n) for n in target.shape])
    through = _through(source, target, motion)
    transform = itk.AffineTransform(3)
    transform.SetMatrix([float(x) for x in through[:3, :3].ravel()])
    transform.SetTranslation([float(x) for x in through[:3, 3]])
    resampler.SetTransform(transform)
    resampler.SetDefaultPixelValue(float(array.min()) if array.min() > 0 else 0.0)
    moved = itk.GetArrayFromImage(resampler.Execute(itk.GetImageFromArray(np.ascontiguousarray(array.T)))).T
    return np.ascontiguousarray(np.clip(moved, array.min(), array.max()), dtype=np.float32)


def move_nearest(array: npt.NDArray[Any], source: Grid, target: Grid, motion: Affine) -> npt.NDArray[Any]:
    """An array (*space) on the target's grid, each voxel from the nearest one; 0 where it has nothing."""
    from scipy import ndimage

    through = _through(source, target, motion)
    axes = array.ndim
    moved = ndimage.affine_transform(
        array.astype(np.uint8) if array.dtype == np.bool_ else array,
        through[:axes, :axes],
        through[:axes, 3],
        output_shape=target.shape,
        order=0,
    )
    return np.asarray(moved, dtype=array.dtype)


def move_linear(array: npt.NDArray[np.float32], source: Grid, target: Grid, motion: Affine) -> npt.NDArray[np.float32]:
    """An image (*space) on the target's grid by linear interpolation; 0 where it has nothing."""
    from scipy import ndimage

    through = _through(source, target, motion)
    axes = array.ndim
    moved = ndimage.affine_transform(
        array, through[:axes, :axes], through[:axes, 3], output_shape=target.shape, order=1
    )
    return np.asarray(moved, dtype=np.float32)


def move_labels(
    labels: npt.NDArray[np.uint8], source: Grid, target: Grid, motion: Affine
) -> tuple[npt.NDArray[np.uint8], LesionCount]:
    """Class numbers (*space) on the target's grid; a lesion that would vanish keeps the voxel at its centre.

    A voxel takes the class whose linear interpolation is largest, at least one half.
    """
    result = np.zeros(target.shape, dtype=labels.dtype)
    most = np.full(target.shape, 0.5 - 1e-6, dtype=np.float32)
    for number in sorted(set(np.unique(labels).tolist()) - {0}):
        share = move_linear((labels == number).astype(np.float32), source, target, motion)
        better = share > most
        result[better], most = number, np.maximum(most, share)
    inverse = np.linalg.inv(_through(source, target, motion))
    return keep_lesions(labels, result, np.asarray(inverse))
