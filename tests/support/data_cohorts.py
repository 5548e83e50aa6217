"""Small cohorts on disk for the tests of the data layer: an ellipsoid for a head, blocks for lesions."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SHAPE = (22, 24, 14)
AFFINE = np.array([[-1.0, 0, 0, 11], [0, -1.0, 0, 12], [0, 0, 3.0, -20], [0, 0, 0, 1]])
LIT_NAMES = ("study1_FLAIR", "study2_FLAIR", "brainmask", "gt")
MSSEG2_NAMES = ("flair_time01_on_middle_space", "flair_time02_on_middle_space", "brain_mask", "ground_truth")

REAL_LIT = Path(__file__).parents[3] / "shared" / "data" / "lit"


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def load(path: Path) -> Any:
    """The nibabel image of a NIfTI file; nibabel is only partly typed."""
    return nibabel.load(path)


def array(path: Path) -> np.ndarray:
    """The voxels of a NIfTI file."""
    return np.asarray(load(path).dataobj)


def head(shape: tuple[int, int, int] = SHAPE, share: float = 0.8) -> np.ndarray:
    """An ellipsoid that fills `share` of each axis."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return np.asarray(sum(axis**2 for axis in axes) <= share**2)


def boxes(*corners: tuple[int, int, int], edge: int = 2, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Cubes of lesion voxels, each beginning at a corner."""
    mask = np.zeros(shape, dtype=bool)
    for x, y, z in corners:
        mask[x : x + edge, y : y + edge, z : z + edge] = True
    return mask


def visits(seed: int, brain: np.ndarray, up: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy visits of one head; `up` is brighter in the second, `down` in the first."""
    rng = np.random.default_rng(seed)
    first, second = (np.where(brain, rng.normal(300, 20, brain.shape), rng.uniform(0, 5, brain.shape)) for _ in "12")
    return (first + 150 * down).astype(np.int16), (second * 1.3 + 150 * up).astype(np.int16)


def write_patient(folder: Path, names: tuple[str, ...], seed: int, up: np.ndarray, down: np.ndarray) -> Path:
    """The four files of a patient: two visits, brain mask, reference."""
    brain = head(up.shape)
    first, second = visits(seed, brain, up, down)
    for name, array in zip(names, (first, second, brain.astype(np.uint8), (up | down).astype(np.uint8)), strict=True):
        save(folder / f"{name}.nii.gz", array)
    return folder


def write_lit(root: Path, patients: int = 3) -> Path:
    """Patients 01, 02, ... with one lesion that brightens and one that darkens."""
    for number in range(1, patients + 1):
        up, down = boxes((8, 9, 5)), boxes((13, 13, 7))
        write_patient(root / f"patient{number:02d}", LIT_NAMES, number, up, down)
    return root


def write_msseg2(root: Path, patients: int = 3) -> Path:
    """Patients 013, 014, ... with 0, 1, 2, ... new lesions, under `training`."""
    none = np.zeros(SHAPE, dtype=bool)
    for index in range(patients):
        up = boxes(*[(8, 9, 5), (13, 13, 7), (9, 14, 8), (14, 9, 6)][:index])
        write_patient(root / "training" / f"{13 + index:03d}", MSSEG2_NAMES, 50 + index, up, none)
    return root
