"""Two visits with one new lesion, and pictures that are not drawn: what the tests of predict share."""

from pathlib import Path

import numpy as np
import pytest

from predict_cases import LESION, SHAPE, write


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
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Picture sheets take seconds to draw; write a file of their name instead."""
    monkeypatch.setattr(
        "lesionloss.inference.predict.picture_sheet.save_sheet", lambda path, _content: path.write_bytes(b"sheet")
    )
