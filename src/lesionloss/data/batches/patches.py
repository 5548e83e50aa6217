"""Windows of cases: where weighted cropping places them, and the copy of their content. Any number of axes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import UsageError
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image, Labels, Mask

Size = tuple[int, ...]
Stream = tuple[str | int, ...]


@dataclass(frozen=True, eq=False)
class Patch:
    """A piece of a case.

    Attributes:
        image: Channels float32 (C, *size).
        reference: Class numbers uint8 (*size).
        valid: Bool (*size); False where a voxel is masked: ignored by the annotators, or padding that does not count.
    """

    image: Image
    reference: Labels
    valid: Mask


def cut(case: PreparedCase, start: Size, size: Size, *, padding_counts: bool = True) -> Patch:
    """Copy the window of a case that begins at `start`; it may lie partly or wholly outside the image.

    Args:
        case: The case.
        start: First voxel of the window; negative numbers lie outside the image.
        size: Voxels along each axis.
        padding_counts: Whether voxels outside the image are valid background.

    Returns:
        The patch; outside the image, image and reference are 0.
    """
    image = np.zeros((len(case.image), *size), dtype=np.float32)
    reference = np.zeros(size, dtype=np.uint8)
    valid = np.full(size, padding_counts)
    source, place = _overlap(case.shape, start, size)
    image[(slice(None), *place)] = case.image[(slice(None), *source)]
    reference[place] = case.reference[source]
    valid[place] = True if case.ignore is None else ~case.ignore[source]
    return Patch(image, reference, valid)


def check_size(size: Size) -> None:
    """Check a patch size.

    Raises:
        UsageError: It is not two or three whole numbers of 1 or more.
    """
    if len(size) not in (2, 3) or any(not isinstance(length, int) or length < 1 for length in size):
        raise UsageError(f"a patch size is two or three whole numbers of 1 or more, got {size}")


def check_fits(case: PreparedCase, size: Size) -> None:
    """Check that a case has as many axes as a patch size.

    Raises:
        UsageError: It has another number of axes.
    """
    if len(size) != len(case.shape):
        raise UsageError(
            f"{case.name} has {len(case.shape)} axes, {case.shape}, but the patch size {size} has {len(size)}; "
            f"give {len(case.shape)} numbers"
        )


def check_crop(size: Size, jitter: int, foreground_share: float) -> None:
    """Check the settings of a weighted crop.

    Raises:
        UsageError: The size, jitter or share is out of its range.
    """
    check_size(size)
    if jitter < 0:
        raise UsageError(f"jitter is a number of voxels, 0 or more, got {jitter}")
    if not 0 <= foreground_share <= 1:
        raise UsageError(f"foreground_share is a probability between 0 and 1, got {foreground_share}")


def crop_start(
    case: PreparedCase, size: Size, jitter: int, foreground_share: float, rng: np.random.Generator
) -> tuple[int, ...]:
    """Draw the first voxel of a weighted crop.

    Three numbers are drawn whatever the case holds, so that the streams of two cases stay in step.

    Args:
        case: The case.
        size: Voxels of the patch along each axis.
        jitter: Largest shift of the centre along each axis, in voxels.
        foreground_share: Probability that the centre is a lesion voxel; otherwise, and in a case without lesions, it is
            any voxel of the brain.
        rng: The generator that draws.

    Returns:
        The first voxel of the window.
    """
    check_fits(case, size)
    on_lesion = float(rng.random()) < foreground_share and len(case.lesion_voxels) > 0
    voxels = case.lesion_voxels if on_lesion else case.brain_voxels
    chosen = int(voxels[int(rng.random() * len(voxels))])
    shift = rng.integers(-jitter, jitter, size=len(size), endpoint=True)
    return start_around(case.shape, size, np.array(np.unravel_index(chosen, case.shape), dtype=np.int64) + shift)


def start_around(shape: Size, size: Size, centre: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Place a window around a voxel and move it back into the image.

    Args:
        shape: Shape of the image.
        size: Voxels of the window along each axis.
        centre: The voxel (axes,).

    Returns:
        The first voxel of the window; negative where the window is larger than the image, which then lies in its
        middle.
    """
    spare = [length - width for length, width in zip(shape, size, strict=True)]
    return tuple(
        min(max(int(middle) - width // 2, 0), rest) if rest >= 0 else -(-rest // 2)
        for middle, width, rest in zip(centre, size, spare, strict=True)
    )


def _overlap(shape: Size, start: Size, size: Size) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Find the part of the image that the window holds, and its place in the window; empty slices for none."""
    spans = [
        (max(first, 0), max(min(first + width, length), max(first, 0)))
        for first, width, length in zip(start, size, shape, strict=True)
    ]
    source = tuple(slice(low, high) for low, high in spans)
    place = tuple(slice(low - first, high - first) for first, (low, high) in zip(start, spans, strict=True))
    return source, place
