"""Prepared cases for the tests of training."""

import pytest

from lesionloss.data.cohort import open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe
from lesionloss.data.prepared import PreparedCase, load_prepared
from make_cohort import write_cohort


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Four cases, one of them without a lesion."""
    root = tmp_path_factory.mktemp("cohort")
    cohort = open_cohort(f"msseg2:{write_cohort(root / 'raw', (2, 1, 0, 3))}")
    prepare_cohort(cohort, root / "prepared", PreparationRecipe(crop=CropSettings(margin_voxels=2)))
    return [load_prepared(root / "prepared" / f"{name}.npz") for name in ("001", "002", "003", "004")]
