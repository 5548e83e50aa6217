"""A bundle that finds a new lesion, and where that lesion is: what the tests of predict share."""

from pathlib import Path

import nibabel
import numpy as np
import torch
from torch import Tensor, nn

from lesionloss.networks import Outputs
from lesionloss.networks.bundle import Bundle, BundleRecord

CHANNELS = ("baseline", "followup", "difference")
OBLIQUE = np.eye(4)  # turned by 6 degrees about z, then by 5 about x
OBLIQUE[:3, :3] = (
    np.array([[1, 0, 0], [0, 0.99619, -0.08716], [0, 0.08716, 0.99619]])
    @ np.array([[0.99452, -0.10453, 0], [0.10453, 0.99452, 0], [0, 0, 1]])
    @ np.diag([-0.8, 0.9, 2.5])
)
OBLIQUE[:3, 3] = (40, -30, 12)
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


def load(path: Path) -> nibabel.Nifti1Image:
    """A NIfTI file."""
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return image


def write(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path
