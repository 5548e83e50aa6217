"""Which window a draw takes: weighted cropping around lesions, by generators that know only stream and step."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image, Mask
from lesionloss.errors import UsageError
from lesionloss.randomness import numpy_generator

Size = tuple[int, int, int]
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], tuple[str, ...]]


def weighted_crop(
    case: PreparedCase, size: Size, jitter: int, rng: np.random.Generator, lesion_share: float = 1.0
) -> tuple[Image, Mask]:
    """A patch (3, *size) and its reference (*size), centred near a random lesion voxel.

    With probability `lesion_share` the centre is a random voxel of the reference, else, and where the case has no
    lesion, a random voxel of the brain; it is then moved by up to `jitter` voxels along each axis, uniformly (HyTver,
    weighted cropping: 10). The window is pushed back into the image, and where it is larger than the image, the image
    lies in its middle with zeros around it. Raises UsageError for a size, jitter or share that makes no sense.
    """
    _check(size, jitter, lesion_share)
    start = _window(case.shape, size, _centre(case, jitter, rng, lesion_share))
    image = np.zeros((len(case.image), *size), dtype=np.float32)
    reference = np.zeros(size, dtype=np.bool_)
    _copy(case, start, image, reference)
    return image, reference


def draw_batch(
    cases: Sequence[PreparedCase],
    size: Size,
    batch: int,
    jitter: int,
    lesion_share: float,
    stream: tuple[str | int, ...],
    step: int,
) -> Batch:
    """Images (B, 3, *size) float32, references (B, *size) uint8 and the names of the cases they come from.

    Every patch has a case of its own, drawn uniformly, and a generator of its own, named by `stream`, step and place in
    the batch. The draw depends on nothing else: not on draws before, nor on the order of `cases` (they are sorted by
    name). Raises UsageError as `weighted_crop` does, and for an empty batch or no cases.
    """
    if batch < 1 or not cases:
        raise UsageError(f"a batch needs at least one patch and one case, got batch={batch} and {len(cases)} cases")
    _check(size, jitter, lesion_share)
    ordered = sorted(cases, key=lambda case: case.name)
    images = np.zeros((batch, len(ordered[0].image), *size), dtype=np.float32)
    references = np.zeros((batch, *size), dtype=np.uint8)
    names: list[str] = []
    for index in range(batch):
        rng = numpy_generator(*stream, "patches", step, index)
        case = ordered[int(rng.integers(len(ordered)))]
        start = _window(case.shape, size, _centre(case, jitter, rng, lesion_share))
        _copy(case, start, images[index], references[index])
        names.append(case.name)
    return images, references, tuple(names)


def _check(size: Size, jitter: int, lesion_share: float) -> None:
    if len(size) != 3 or min(size) < 1:
        raise UsageError(f"a patch size is three numbers of 1 or more, got {size}")
    if jitter < 0:
        raise UsageError(f"jitter is a number of voxels, 0 or more, got {jitter}")
    if not 0 <= lesion_share <= 1:
        raise UsageError(f"lesion_share is a probability between 0 and 1, got {lesion_share}")


def _centre(case: PreparedCase, jitter: int, rng: np.random.Generator, lesion_share: float) -> npt.NDArray[np.int64]:
    """Draws the same three times whatever the case holds, so that the streams of two cases stay in step."""
    on_lesion = float(rng.random()) < lesion_share and len(case.lesion_voxels) > 0
    voxels = case.lesion_voxels if on_lesion else case.brain_voxels
    chosen = int(voxels[int(rng.random() * len(voxels))])
    shift = rng.integers(-jitter, jitter, size=3, endpoint=True)
    return np.array(np.unravel_index(chosen, case.shape), dtype=np.int64) + shift


def _window(shape: tuple[int, ...], size: Size, centre: npt.NDArray[np.int64]) -> Size:
    """First voxel of the window; negative where the window is larger than the image."""

    def along(axis: int) -> int:
        spare = shape[axis] - size[axis]
        if spare < 0:
            return -(-spare // 2)
        return min(max(int(centre[axis]) - size[axis] // 2, 0), spare)

    return along(0), along(1), along(2)


def _copy(case: PreparedCase, start: Size, image: Image, reference: npt.NDArray[np.bool_ | np.uint8]) -> None:
    """Fill `image` (3, *size) and `reference` (*size) with what the window that begins at `start` holds of the case."""
    spans = [
        (max(first, 0), min(first + width, length))
        for first, width, length in zip(start, reference.shape, case.shape, strict=True)
    ]
    source = tuple(slice(low, high) for low, high in spans)
    place = tuple(slice(low - first, high - first) for first, (low, high) in zip(start, spans, strict=True))
    image[(slice(None), *place)] = case.image[(slice(None), *source)]
    reference[place] = case.reference[source]
