"""A folder of NIfTI files, and `lesionloss evaluate` called in it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluate_cases import AFFINE, NAMES, arrays
from lesionloss.cli import main
from lesionloss.data.nifti import write_volume

Run = Callable[..., tuple[Any, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders of maps, masks, references and brains."""
    for name in NAMES:
        probability, mask, reference = arrays(name)
        brain = np.ones_like(reference)
        for kind, array in (("maps", probability), ("masks", mask), ("refs", reference), ("brains", brain)):
            path = tmp_path / kind / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path, array, AFFINE)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in the folder, in one process; gives exit code, stdout and stderr."""

    def call(line: str, jobs: int = 1) -> tuple[Any, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["lesionloss", "evaluate", *line.split(), "--jobs", str(jobs)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, *capsys.readouterr()

    return call
