"""Predictions as others would have them: NIfTI files in folders, and nnU-Net's results, of small made-up cases."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from lesionloss.core.randomness import numpy_generator

SHAPE = (16, 14, 6)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
PATTERN = "{loss}/fold_{fold}/seed{seed}/{case}.nii.gz"


@dataclass(frozen=True)
class Others:
    """What was made: cases (patients), losses with their skill, folds and seeds."""

    cases: int = 6
    skill: tuple[tuple[str, float], ...] = (("dice", 0.0), ("focal", 0.25))
    folds: int = 3
    seeds: tuple[int, ...] = (1, 2)
    empty: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the cases."""
        return [f"case{number:02d}" for number in range(self.cases)]

    def trials(self) -> list[tuple[str, float, int, int]]:
        """Loss, skill, fold and seed of each training run."""
        return [
            (loss, skill, fold, seed) for loss, skill in self.skill for fold in range(self.folds) for seed in self.seeds
        ]

    def tested(self, fold: int) -> list[str]:
        """The cases of a fold."""
        return [name for number, name in enumerate(self.names) if number % self.folds == fold]


def reference(case: str, made: Others) -> NDArray[np.uint8]:
    """A reference with one or two lesions; none for the cases that are `empty`."""
    draw = numpy_generator("others", case)
    grid = np.stack(np.meshgrid(*(np.arange(side) for side in SHAPE), indexing="ij"))
    mask = np.zeros(SHAPE, dtype=bool)
    for _ in range(0 if case in made.empty else 2):
        centre = draw.uniform((4, 4, 2), (12, 10, 4))
        mask |= ((grid - centre[:, None, None, None]) ** 2).sum(0) < draw.uniform(4, 9)
    return mask.astype(np.uint8)


def probability(case: str, loss: str, skill: float, seed: int, made: Others) -> NDArray[np.float32]:
    """A map that finds the lesions, better with more skill."""
    draw = numpy_generator("others", case, loss, seed)
    noise = draw.normal(scale=1.2 - skill, size=SHAPE)
    logits = 4.0 * reference(case, made) - 2.6 + noise
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def write(path: Path, array: NDArray[Any]) -> None:
    """Write one NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, AFFINE)
    image.set_sform(AFFINE, code=1)
    nibabel.save(image, path)


def write_others(folder: Path, made: Others, *, maps: bool = False, images: bool = False) -> Path:
    """Write labels/, results/ and, where they are wanted, maps/ and images/."""
    for case in made.names:
        write(folder / "labels" / f"{case}.nii.gz", reference(case, made))
        if images:
            draw = numpy_generator("others", "image", case)
            image = draw.normal(size=SHAPE) + 3.0 * reference(case, made)
            write(folder / "images" / f"{case}_0000.nii.gz", image.astype(np.float32))
    for loss, skill, fold, seed in made.trials():
        for case in made.tested(fold):
            map_ = probability(case, loss, skill, seed, made)
            name = PATTERN.format(loss=loss, fold=fold, seed=seed, case=case)
            write(folder / "results" / name, (map_ >= np.float32(0.5)).astype(np.uint8))
            if maps:
                write(folder / "maps" / name, map_)
    return folder


def write_nnunet(folder: Path, made: Others, *, proofs: str = "equal") -> Path:
    """Write the results of nnU-Net with `--npz`, its splits, and raw labels.

    Args:
        folder: Where they go.
        made: What is made.
        proofs: `equal` hashes of pairs, `different` ones, or `none`.
    """
    data = "Dataset501_MS"
    for case in made.names:
        write(folder / "nnUNet_raw" / data / "labelsTr" / f"{case}.nii.gz", reference(case, made))
    splits = [
        {"train": [name for name in made.names if name not in made.tested(fold)], "val": made.tested(fold)}
        for fold in range(made.folds)
    ]
    preprocessed = folder / "nnUNet_preprocessed" / data
    preprocessed.mkdir(parents=True)
    (preprocessed / "splits_final.json").write_text(json.dumps(splits))
    for loss, skill, fold, seed in made.trials():
        model = folder / "nnUNet_results" / data / f"nnUNetTrainerLL_{loss}_s{seed}__nnUNetPlans__3d_fullres"
        place = model / f"fold_{fold}"
        (place / "validation").mkdir(parents=True)
        (model / "dataset.json").write_text(
            json.dumps({"labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"})
        )
        for case in made.tested(fold):
            map_ = probability(case, loss, skill, seed, made)
            write(place / "validation" / f"{case}.nii.gz", (map_ > 0.5).astype(np.uint8))
            both = np.stack([1 - map_, map_]).transpose(0, 3, 2, 1)
            np.savez_compressed(place / "validation" / f"{case}.npz", probabilities=both)
        if proofs != "none":
            weights = f"w{fold}{seed}" + (loss if proofs == "different" else "")
            record = {
                "format": 1,
                "loss": loss,
                "fold": fold,
                "seed": seed,
                "initial_weights_sha256": weights,
                "batches_sha256": {"1": f"b{fold}{seed}", "100": f"c{fold}{seed}"},
                "epochs": 2,
                "iterations": 3,
                "versions": {"torch": "2.13.0"},
                "device": "cpu, 2 threads",
                "what_differs": ["kernels: some add in a varying order"],
            }
            (place / "lesionloss_pairing.json").write_text(json.dumps(record))
    return folder
