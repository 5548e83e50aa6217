"""Images and labels resampled along a rigid motion, onto any grid."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.data.resampling.lesion_labels import LesionCount, keep_lesions
from lesionloss.data.resampling.simpleitk import itk_module
from lesionloss.data.volume import Affine


def _through(source: VoxelGrid, target: VoxelGrid, motion: Affine) -> Affine:
    """Voxels of the target to voxels of the source; `motion` takes the target's points to the source's."""
    return np.asarray(np.linalg.inv(source.affine) @ motion @ target.affine)


def move_image(
    array: npt.NDArray[np.float32], source: VoxelGrid, target: VoxelGrid, motion: Affine
) -> npt.NDArray[np.float32]:
    """Resample an image along a motion by cubic B-splines; values stay in their range.

    Args:
        array: Intensities (X, Y, Z) on `source`.
        source: The grid of the array.
        target: The grid of the result.
        motion: Affine (4, 4) from points of the target's space to points of the source's, in mm.

    Returns:
        Intensities (X, Y, Z) on `target`, 0 (or the smallest value, if that is above 0) where the source has none.
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


def move_nearest(array: npt.NDArray[Any], source: VoxelGrid, target: VoxelGrid, motion: Affine) -> npt.NDArray[Any]:
    """Resample an array along a motion; each voxel takes the value of the nearest one.

    Args:
        array: Values (*space) of any type on `source`.
        source: The grid of the array.
        target: The grid of the result.
        motion: Affine (4, 4) from points of the target's space to points of the source's, in mm.

    Returns:
        Values (*space) on `target`, of the same type, 0 where the source has none.
    """
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


def move_linear(
    array: npt.NDArray[np.float32], source: VoxelGrid, target: VoxelGrid, motion: Affine
) -> npt.NDArray[np.float32]:
    """Resample an image along a motion by linear interpolation.

    Args:
        array: Intensities (*space) on `source`.
        source: The grid of the array.
        target: The grid of the result.
        motion: Affine (4, 4) from points of the target's space to points of the source's, in mm.

    Returns:
        Intensities (*space) on `target`, 0 where the source has none.
    """
    from scipy import ndimage

    through = _through(source, target, motion)
    axes = array.ndim
    moved = ndimage.affine_transform(
        array, through[:axes, :axes], through[:axes, 3], output_shape=target.shape, order=1
    )
    return np.asarray(moved, dtype=np.float32)


def move_labels(
    labels: npt.NDArray[np.uint8], source: VoxelGrid, target: VoxelGrid, motion: Affine
) -> tuple[npt.NDArray[np.uint8], LesionCount]:
    """Resample class numbers along a motion; a lesion that would vanish keeps the voxel at its centre.

    A voxel takes the class whose linear interpolation is largest, at least one half.

    Args:
        labels: Class numbers (*space) on `source`.
        source: The grid of the labels.
        target: The grid of the result.
        motion: Affine (4, 4) from points of the target's space to points of the source's, in mm.

    Returns:
        Class numbers (*space) on `target`, and how many lesions there were before and after.
    """
    result = np.zeros(target.shape, dtype=labels.dtype)
    most = np.full(target.shape, 0.5 - 1e-6, dtype=np.float32)
    for number in sorted(set(np.unique(labels).tolist()) - {0}):
        share = move_linear((labels == number).astype(np.float32), source, target, motion)
        better = share > most
        result[better], most = number, np.maximum(most, share)
    inverse = np.linalg.inv(_through(source, target, motion))
    return keep_lesions(labels, result, np.asarray(inverse))
