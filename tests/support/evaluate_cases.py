"""A folder of maps, masks, references and brains, and `lesionloss evaluate` called in it."""

import csv
import sys

import numpy as np
import pytest

from lesionloss.cli import main
from lesionloss.core.randomness import numpy_generator
from lesionloss.data.nifti import write_volume

AFFINE = np.diag([0.9, 0.9, 3.0, 1.0])
SPACING = (0.9, 0.9, 3.0)
NAMES = ["a", "b/c", "missed"]


def arrays(name):
    """A map, a mask and a reference; one patient is missed altogether."""
    generator = numpy_generator("evaluate", name)
    reference = np.zeros((16, 15, 8), dtype=bool)
    reference[3:7, 4:8, 2:4] = reference[10:13, 10:13, 5:7] = True
    probability = np.clip(generator.normal(0.15 + 0.6 * np.roll(reference, 1, axis=0), 0.1), 0, 1).astype(np.float32)
    return probability * (name != "missed"), (probability >= 0.5) & (name != "missed"), reference


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        probability, mask, reference = arrays(name)
        brain = np.ones_like(reference)
        for kind, array in (("maps", probability), ("masks", mask), ("refs", reference), ("brains", brain)):
            path = tmp_path / kind / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path, array, AFFINE)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Runs the command in the folder with one process; gives exit code, stdout and stderr."""

    def call(line, jobs=1):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["lesionloss", "evaluate", *line.split(), "--jobs", str(jobs)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, *capsys.readouterr()

    return call


def table(path):
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
