"""N4 bias field correction: the slow variation of brightness that the coil leaves in an image (Tustison 2010)."""

import math

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.data.resampling.simpleitk import itk_image, itk_module, one_thread
from lesionloss.data.subject import Image, Mask
from lesionloss.data.volume import Affine

HEAD_PERCENTILE = 30.0


def correct_bias(
    image: Image, affine: Affine, brain: Mask | None, what: str, *, voxel_mm: float = 4.0, iterations: tuple[int, ...]
) -> tuple[Image, float]:
    """Divide an image by its bias field, which N4 estimates.

    The field is estimated inside the brain (without a mask: where the image is brighter than its 30th percentile) and
    has a mean of 1 there, so the scale stays.

    Args:
        image: Intensities (X, Y, Z).
        affine: Voxel indices to millimetres (4, 4).
        brain: Brain mask (X, Y, Z), or None.
        what: The image in error messages.
        voxel_mm: About the voxel size on which the field is estimated.
        iterations: Iterations on each level of the field.

    Returns:
        The corrected image (X, Y, Z), and how far the field spreads: its 95th over its 5th percentile.

    Raises:
        DataError: No voxel is above zero (the field is that of a logarithm), or N4 finds no field.
    """
    itk = itk_module()
    inside = (image > max(0.0, float(np.percentile(image, HEAD_PERCENTILE)))) if brain is None else brain & (image > 0)
    if not inside.any():
        raise DataError(f"{what}: no voxel above zero to estimate a bias field from; leave out the step n4")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = [max(1, min(math.floor(voxel_mm / edge), n // 8)) for edge, n in zip(spacing, image.shape, strict=True)]
    whole = itk_image(image.clip(min=0), affine, what)
    mask = itk_image(inside.astype(np.uint8), affine, what)
    method = itk.N4BiasFieldCorrectionImageFilter()
    method.SetMaximumNumberOfIterations([int(n) for n in iterations])
    with one_thread(itk):
        try:
            method.Execute(itk.Shrink(whole, factors), itk.Shrink(mask, factors))
        except RuntimeError as error:
            raise DataError(f"{what}: N4 found no bias field; leave out the step n4 or check the image") from error
        logarithm = itk.GetArrayFromImage(method.GetLogBiasFieldAsImage(whole)).T
    field: npt.NDArray[np.float32] = np.exp(logarithm - logarithm[inside].mean(dtype=np.float64))
    low, high = np.percentile(field[inside], (5, 95))
    return np.ascontiguousarray(image / field, dtype=np.float32), float(high / low)
