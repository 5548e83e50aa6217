"""Flips and intensity, drawn from generators that know only stream and step."""

import numpy as np
import numpy.typing as npt

from lesionloss.randomness import numpy_generator

FLIP_PROBABILITY = 0.5
# Scanner gain and offset differ between visits by about this much once both are z-scored.
SCALE_RANGE = (0.9, 1.1)
SHIFT_RANGE = (-0.1, 0.1)
VISITS = 2


def augment(
    images: npt.NDArray[np.float32], references: npt.NDArray[np.uint8], stream: tuple[str | int, ...], step: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """New images (B, 3, X, Y, Z) and references (B, X, Y, Z): flipped, and each visit scaled and shifted.

    Each of the three axes is flipped with probability 1/2, image and reference alike. Baseline and followup are each
    multiplied by a number from [0.9, 1.1] and raised by one from [-0.1, 0.1] (in standard deviations of the brain);
    voxels that are 0 in both visits (outside the brain, padding) stay 0. The difference is followup - baseline
    afterwards, as before. Patch i depends on nothing but its content, `stream`, `step` and i.
    """
    flipped_images = np.empty_like(images)
    flipped_references = np.empty_like(references)
    for index in range(len(images)):
        rng = numpy_generator(*stream, "augment", step, index)
        flips = rng.random(3) < FLIP_PROBABILITY
        scale = rng.uniform(*SCALE_RANGE, size=VISITS).astype(np.float32)
        shift = rng.uniform(*SHIFT_RANGE, size=VISITS).astype(np.float32)
        direction = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
        _rescale(images[index][(slice(None), *direction)], scale, shift, flipped_images[index])
        flipped_references[index] = references[index][direction]
    return flipped_images, flipped_references


def _rescale(
    image: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    shift: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
) -> None:
    """Fill `out` with the visits scaled and shifted inside the brain, and their difference."""
    visits = image[:VISITS]
    inside = (visits != 0).any(axis=0)
    out[:VISITS] = visits * scale[:, None, None, None] + shift[:, None, None, None] * inside
    np.subtract(out[1], out[0], out=out[2])
