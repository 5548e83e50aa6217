"""One thread per test process: several share the cores, and idle threads of one would starve the others."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from example_trials import TRIAL
from lesionloss.data.cohort import open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe
from lesionloss.data.prepared import PreparedCase, load_prepared
from make_cohort import write_cohort


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """The prepared cases that `TRIAL` trains on."""
    root = tmp_path_factory.mktemp("cohort")
    cohort = open_cohort(f"msseg2:{write_cohort(root / 'raw')}")
    prepare_cohort(cohort, root / "prepared", PreparationRecipe(crop=CropSettings(margin_voxels=2)))
    return [load_prepared(root / "prepared" / f"{name}.npz") for name in TRIAL.train]
