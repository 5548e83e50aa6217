"""What the examples share: ten tiny patients with bright lesions, folds, and where predictions are written.

Every example writes OUT/predictions/LOSS/fold_FOLD/seedSEED/CASE.nii.gz and OUT/references/CASE.nii.gz: what
`lesionloss collect` reads, whatever trained the networks.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from torch import nn

Volumes = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]]


def volumes(side: int = 16, count: int = 10) -> Volumes:
    """Image and mask, (side, side, side) each, of every case by its name."""
    axis = np.arange(side)
    cases = {}
    for number in range(count):
        stream = np.random.default_rng(number)
        mask = np.zeros((side,) * 3, dtype=np.uint8)
        for centre in stream.integers(3, side - 3, (3, 3)):
            distance = sum(
                (grid - c) ** 2 for grid, c in zip(np.meshgrid(*[axis] * 3, indexing="ij"), centre, strict=True)
            )
            mask[distance <= stream.uniform(2, 9)] = 1
        cases[f"case{number:02}"] = ((mask + stream.normal(0, 0.5, mask.shape)).astype(np.float32), mask)
    return cases


def small_network() -> nn.Module:
    """A network that learns to find bright voxels: images (B, 1, X, Y, Z) to logits of the same shape."""
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(4, 1, 1))


class Trial(NamedTuple):
    """What is trained once: a loss on the cases of a fold, with a seed."""

    loss: str
    fold: int
    seed: int
    training: list[str]
    testing: list[str]


def trials(cases: Volumes) -> Iterator[Trial]:
    """All trials: two losses, each with five folds and two seeds."""
    names = sorted(cases)
    for fold, seed, loss in itertools.product(range(5), (1, 2), ("dice_ce", "hytver")):
        testing = names[fold::5]
        yield Trial(loss, fold, seed, [name for name in names if name not in testing], testing)


def write_prediction(out: Path, trial: Trial, name: str, mask: npt.NDArray[Any]) -> None:
    """Write the mask that the network of a trial predicts for a case."""
    _write(out / "predictions" / trial.loss / f"fold_{trial.fold}" / f"seed{trial.seed}" / f"{name}.nii.gz", mask)


def write_references(out: Path, cases: Volumes) -> None:
    """Write the masks that predictions are compared with."""
    for name, (_, mask) in cases.items():
        _write(out / "references" / f"{name}.nii.gz", mask)


def collect_and_report(out: Path) -> None:
    """Score the predictions with `lesionloss collect`, compare the losses, and write OUT/run/report.html."""
    pattern = out / "predictions" / "{loss}" / "fold_{fold}" / "seed{seed}" / "{case}.nii.gz"
    collect = ["collect", out / "run", "--predictions", pattern, "--references", out / "references", "--jobs", 1]
    for command in (collect, ["compare", out / "run"], ["report", out / "run"]):
        subprocess.run([sys.executable, "-m", "lesionloss", *map(str, command)], check=True)


def _write(path: Path, mask: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), np.eye(4)), path)
