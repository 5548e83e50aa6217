"""Prepared cases with random content for the tests of patches, augmentation and batches."""

import numpy as np

from lesionloss.data.prepared import PreparedCase

SPACE = (24, 20, 18)


def random_case(
    name: str,
    shape: tuple[int, ...] = SPACE,
    lesions: int = 4,
    *,
    seed: int = 0,
    ignored: bool = False,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> PreparedCase:
    """A brain one voxel from every border, lesion voxels of class 1 and 2 in turn, normal z-scores, 0 outside."""
    rng = np.random.default_rng([seed, *name.encode()])
    brain = np.zeros(shape, dtype=bool)
    brain[(slice(1, -1),) * len(shape)] = True
    reference = np.zeros(shape, dtype=np.uint8)
    where = rng.choice(np.flatnonzero(brain), lesions, replace=False)
    reference.flat[where] = 1 + np.arange(lesions) % 2
    baseline, followup = rng.normal(size=(2, *shape)).astype(np.float32) * brain
    ignore = None
    if ignored:
        ignore = np.zeros(shape, dtype=bool)
        ignore.flat[rng.choice(np.flatnonzero(brain), 30, replace=False)] = True
    return case_of(name, np.stack([baseline, followup, followup - baseline]), reference, brain, ignore, spacing)


def case_of(
    name: str,
    image: np.ndarray,
    reference: np.ndarray,
    brain: np.ndarray,
    ignore: np.ndarray | None = None,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> PreparedCase:
    return PreparedCase(
        name=name,
        patient=name,
        image=image,
        reference=reference,
        brain=brain,
        affine=np.diag([*spacing, *[1.0] * (4 - len(spacing))]),
        offset=(0,) * reference.ndim,
        original_shape=reference.shape,
        ignore=ignore,
        channels=("baseline", "followup", "difference"),
    )
