"""Settings of every test process and shared fixtures. Each process has one thread, because several share the cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import gc
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from example_trials import TRIAL
from lesionloss.data.cohort import open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe
from lesionloss.data.prepared import PreparedCase, load_prepared
from lesionloss.report import write_report
from make_cohort import write_cohort


def pytest_configure() -> None:
    """Let the programs that tests start be interrupted: a shell starts those in the background with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _let_torchvision_be_imported()


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the garbage collector need not look at their million objects each time."""
    gc.freeze()


def _let_torchvision_be_imported() -> None:
    """Here and in programs that tests start: torchmetrics imports it, and it may be built for another torch."""
    found = find_spec("torchvision")
    try:
        for library in Path(found.origin).parent.glob("_C*.so") if found and found.origin else ():
            torch.ops.load_library(str(library))
    except OSError:
        shim = str(Path(__file__).parent / "support" / "other_torchvision")
        sys.path.insert(0, shim)
        os.environ["PYTHONPATH"] = os.pathsep.join([shim, *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four raw patients, one without a lesion; tests only read it."""
    return write_cohort(tmp_path_factory.mktemp("data"))


@pytest.fixture
def figures_only_as_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without PDF and PNG, which take most of their time; tests/report looks at those."""
    monkeypatch.setitem(write_report.__kwdefaults__, "formats", ())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """The prepared cases that `TRIAL` trains on."""
    root = tmp_path_factory.mktemp("cohort")
    cohort = open_cohort(f"msseg2:{write_cohort(root / 'raw')}")
    prepare_cohort(cohort, root / "prepared", PreparationRecipe(crop=CropSettings(margin_voxels=2)))
    return [load_prepared(root / "prepared" / f"{name}.npz") for name in TRIAL.train]
