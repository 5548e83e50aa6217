"""Two visits with one new lesion, and a bundle that finds it: what the tests of predict share."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionloss.networks import Outputs
from lesionloss.networks.bundle import Bundle, BundleRecord

CHANNELS = ("baseline", "followup", "difference")
OBLIQUE = np.array([[-0.8, 0.1, 0.0, 40.0], [0.1, 0.9, -0.2, -30.0], [0.0, 0.2, 2.5, 12.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (40, 36, 18)
LESION = (slice(20, 23), slice(14, 18), slice(8, 11))


class Brightening(nn.Module):
    """New lesion where the difference of the visits is large."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Outputs:
        lesion = 4 * (x[:, 2:3] - 8)
        return Outputs(lesion if self.outputs == 1 else torch.cat([0 * lesion, lesion, lesion - 1], 1))


def bundle_of(outputs: int = 1, **changes: object) -> Bundle:
    record = BundleRecord(network="unet3d", channels=CHANNELS, window=(16, 16, 16), weights_sha256="0" * 64)
    return Bundle(Brightening(outputs), record.model_copy(update=changes))


def write(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def visits(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two visits with one new lesion on an oblique grid, and their brain mask."""
    rng = np.random.default_rng(0)
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    brain = (((grid - np.array(SHAPE) / 2) / (np.array(SHAPE) / 2 - 2)) ** 2).sum(-1) < 1
    images = [np.where(brain, 100 + rng.normal(size=SHAPE), 0).astype(np.float32) for _ in range(2)]
    images[1][LESION] += 20
    return (
        write(tmp_path / "raw" / "baseline.nii.gz", images[0]),
        write(tmp_path / "raw" / "followup.nii.gz", images[1]),
        write(tmp_path / "raw" / "brain.nii.gz", brain.astype(np.uint8)),
    )


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets take seconds to draw; where they are not looked at, a file of their name will do."""
    monkeypatch.setattr(
        "lesionloss.inference.predict.picture_sheet.save_sheet", lambda path, _shown: path.write_bytes(b"sheet")
    )
