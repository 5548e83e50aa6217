"""Tiny cohorts in the MSSEG-2 layout for tests that train: bright lesions on a textured ball."""

from pathlib import Path

import nibabel
import numpy as np

from lesionloss.core.randomness import numpy_generator

SIDE = 20
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def write_patient(folder: Path, index: int, lesions: int) -> None:
    """Both visits, reference and brain mask of one patient; `lesions` new blobs of 3³ voxels."""
    rng = numpy_generator("tiny cohort", index)
    grid = np.indices((SIDE,) * 3) - (SIDE - 1) / 2
    brain = (grid**2).sum(0) < (SIDE / 2 - 1) ** 2
    baseline, followup = (np.where(brain, 100 + 5 * rng.standard_normal(brain.shape), 0) for _ in range(2))
    reference = np.zeros(brain.shape, bool)
    for _ in range(lesions):
        x, y, z = rng.integers(6, SIDE - 6, 3)
        reference[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = True
    followup[reference] += 60
    folder.mkdir(parents=True)
    for name, array in (
        ("flair_time01_on_middle_space", baseline.astype(np.float32)),
        ("flair_time02_on_middle_space", followup.astype(np.float32)),
        ("ground_truth", reference.astype(np.uint8)),
        ("brain_mask", brain.astype(np.uint8)),
    ):
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), folder / f"{name}.nii.gz")


def write_cohort(root: Path, lesions: tuple[int, ...] = (2, 1, 3, 0)) -> Path:
    """One patient per entry of `lesions`; returns the folder to give to `open_cohort`."""
    for index, count in enumerate(lesions):
        write_patient(root / "training" / f"{index + 1:03d}", index, count)
    return root
