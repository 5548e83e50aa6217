"""Small NIfTI files for the tests of reading."""

from pathlib import Path

import nibabel
import numpy as np

SHAPE = (9, 8, 7)


AFFINE = np.diag([0.7, 0.7, 3.0, 1.0])


def noise(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def block() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[3:6, 3:6, 3:6] = 1
    return mask


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path
