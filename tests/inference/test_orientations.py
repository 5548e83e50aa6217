"""The same patient stored in any of the 48 orientations gives the same prediction, in the orientation of the files."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionloss.inference import WholeImage
from lesionloss.inference.predict import source_of_files
from lesionloss.inference.predict.predict_in_memory import PredictSettings, predict_ready
from lesionloss.inference.predict.replay_preparation import make_ready
from lesionloss.networks import Outputs
from lesionloss.networks.bundle import Bundle
from predict_cases import OBLIQUE, bundle_of, write

SHAPE = (14, 12, 10)
ORIENTATIONS = [
    "".join(letters[side] for letters, side in zip(lines, sides, strict=True))
    for lines in permutations(("RL", "AP", "SI"))
    for sides in product((0, 1), repeat=3)
]


class Lopsided(nn.Module):
    """A random convolution: its output depends on where the axes run."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = 1
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(1, 3, 3, 3, 3, generator=generator) / 5)

    def forward(self, x: Tensor) -> Outputs:
        return Outputs(nn.functional.conv3d(x, self.weight, padding=1))


def turned_files(
    folder: Path, axes: str, baseline_axes: str = "", like_baseline: tuple[str, ...] = ("baseline",)
) -> tuple[Path, Path, Path]:
    """Two visits and a brain mask, stored with their axes along `axes`."""
    from nibabel import Nifti1Image
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    rng = np.random.default_rng(0)
    brain = np.zeros(SHAPE, np.uint8)
    brain[2:-3, 1:-2, 2:-1] = 1
    first, second = (rng.normal(100, 10, SHAPE).astype(np.float32) for _ in range(2))
    paths = []
    for name, array in (("baseline", first), ("followup", second), ("brain", brain)):
        to = axcodes2ornt(baseline_axes if baseline_axes and name in like_baseline else axes)
        image = Nifti1Image(array, OBLIQUE).as_reoriented(ornt_transform(io_orientation(OBLIQUE), to))
        paths.append(write(folder / f"{name}.nii", np.asarray(image.dataobj), image.affine))
    return paths[0], paths[1], paths[2]


def prediction(files: tuple[Path, Path, Path]) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities on the follow-up's own grid, and its affine."""
    bundle = Bundle(Lopsided(), bundle_of().record)
    ready = make_ready(source_of_files([files[0]], [files[1]], files[2]), bundle.record)
    assert "register" not in ready.steps
    probabilities, _ = predict_ready(bundle, ready, PredictSettings(mode=WholeImage()))
    return ready.on_own_grid(probabilities[0]), ready.affine


def in_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    from nibabel import Nifti1Image, as_closest_canonical

    return np.asarray(as_closest_canonical(Nifti1Image(array, affine)).dataobj)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    files = turned_files(tmp_path_factory.mktemp("ras"), "RAS")
    found, affine = prediction(files)
    assert found.std() > 0.05
    return in_ras(found, affine)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_any_orientation_gives_the_same_prediction(tmp_path: Path, axes: str, expected: np.ndarray) -> None:
    files = turned_files(tmp_path, axes)
    found, affine = prediction(files)
    from nibabel.loadsave import load

    assert found.shape == load(files[1]).shape  # type: ignore[attr-defined]
    np.testing.assert_allclose(in_ras(found, affine), expected, atol=1e-6)


@pytest.mark.parametrize("like_baseline", [("baseline",), ("baseline", "brain")])
def test_visits_of_two_orientations_give_the_same_prediction(
    tmp_path: Path, like_baseline: tuple[str, ...], expected: np.ndarray
) -> None:
    found, affine = prediction(turned_files(tmp_path, "LPS", "ASL", like_baseline))
    np.testing.assert_allclose(in_ras(found, affine), expected, atol=1e-6)


def test_all_48_orientations_are_tried() -> None:
    assert len(set(ORIENTATIONS)) == 48
