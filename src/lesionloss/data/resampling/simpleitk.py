"""SimpleITK images from arrays, and SimpleITK on one thread."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.data.volume import Affine, check_right_angles

# SimpleITK counts x to the left and y to the back, NIfTI to the right and to the front.
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_module() -> Any:
    """Import SimpleITK when it is first needed; its interface is untyped."""
    import SimpleITK

    return SimpleITK


@contextlib.contextmanager
def one_thread(itk: Any) -> Iterator[None]:
    """Run SimpleITK on one thread: the order in which threads add up would move the last digits of a result."""
    before = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def itk_image(array: npt.NDArray[Any], affine: Affine, what: str) -> Any:
    """Make a SimpleITK image.

    Args:
        array: Voxels (X, Y, Z).
        affine: Voxel indices to NIfTI's millimetres (4, 4).
        what: The image in error messages.

    Returns:
        A `SimpleITK.Image` in LPS coordinates.

    Raises:
        DataError: The affine is sheared.
    """
    lps = TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    check_right_angles(affine, what)
    left, _, right = np.linalg.svd(lps[:3, :3] / spacing)
    image = itk_module().GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([float(edge) for edge in spacing])
    image.SetOrigin([float(x) for x in lps[:3, 3]])
    image.SetDirection([float(x) for x in (left @ right).ravel()])
    return image
