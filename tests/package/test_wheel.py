"""The wheel in fresh environments: its metadata, what works without extras, and which commands name a missing one."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import nibabel as nib
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_group

from command_lines import run_commands, run_python
from lesionloss.cli import app
from lesionloss.core.extras import PACKAGES, missing_extra
from linked_venv import ROOT, build_wheel, linked_venv, requirements, wheel_metadata

USE_A_LOSS = """
import torch
import lesionloss as ll

criterion = ll.build("0.5*dice + 0.5*focal(gamma=2)")
logits = torch.zeros(2, 1, 8, 8, 8, requires_grad=True)
criterion(logits, torch.ones(2, 8, 8, 8).long()).backward()
assert logits.grad.abs().sum() > 0
assert ll.HyTverLoss(fn=0.7)(logits, torch.zeros(2, 8, 8, 8).long()) > 0
assert "hytver" in [record.name for record in ll.list_losses()]
ll.build_network("unet3d(filters=2)", torch.Generator())
try:
    ll.run
except ImportError as error:
    assert str(error).endswith('which is not installed: pip install "lesionloss[bench]"'), error
else:
    raise AssertionError("lesionloss.run needs the extra `bench`")
print("used")
"""

WITHOUT_EXTRAS = (
    *(["losses"], ["losses", "hytver"], ["networks"], ["models"], ["layouts"], ["layouts", "csv"], ["data", "--help"]),
    *(["verify", "--help"], ["explain", "dice"], ["check", "dice", "--kernel", "readable"]),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment without extras."""
    return linked_venv(tmp_path_factory.mktemp("bare"), wheel)


def test_the_wheel_asks_for_four_packages(wheel: Path) -> None:
    metadata = wheel_metadata(wheel)
    assert {each.name for each in requirements(metadata)} == {"torch", "numpy", "typer", "rich"}
    extras = {"metrics", "bench", "brain", "ray", "slurm", "tensorboard", "mlflow", "wandb", "torchmetrics", "nnunet"}
    extras |= {"all", "docs", "test"}
    assert set(metadata.get_all("Provides-Extra") or []) == extras
    assert metadata["Author"] == "The lesionloss developers"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("lesionloss/")}
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} == packed


def test_the_links_of_the_description_are_absolute(wheel: Path) -> None:
    description = str(wheel_metadata(wheel).get_payload())
    assert "](docs/" not in description
    assert "(https://github.com/lesionloss/lesionloss/blob/main/docs/" in description
    assert "(https://raw.githubusercontent.com/lesionloss/lesionloss/main/docs/images/report.png)" in description


def test_extras_and_their_messages_name_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    distributions = packages_distributions()
    for extra, packages in PACKAGES.items():
        wanted = {canonicalize_name(Requirement(text).name) for text in project[extra]} - {"lesionloss"}
        names = {distributions.get(package, [package])[0] for package in packages}  # not all extras are installed
        assert {canonicalize_name(name) for name in names} == wanted


def test_a_module_of_no_extra_is_not_explained() -> None:
    assert missing_extra(ModuleNotFoundError("No module named 'mine'", name="mine"), "bench") is None


def test_a_loss_needs_no_extra(bare: Path, tmp_path: Path) -> None:
    assert run_python(bare, "-c", USE_A_LOSS, folder=tmp_path) == "used\n"


def test_commands_about_losses_need_no_extra(bare: Path, tmp_path: Path) -> None:
    ended = run_commands(bare, [["--help"], *WITHOUT_EXTRAS], tmp_path)
    assert [each for each in ended if each.code] == []
    assert "dice keeps all laws" in ended[-1].out


def test_every_other_command_names_its_extra(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.toml").write_text('losses = ["dice"]\nseeds = [1]\nfolds = 2\n')
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "cohort.csv").write_text("patient,visit1,visit2,reference\na,a.nii.gz,a.nii.gz,a.nii.gz\n")
    lines = [
        ["evaluate", "a.nii.gz", "a.nii.gz"],
        ["metrics"],
        ["bench", "quickstart"],
        ["train", "quickstart", "--out", "trained"],
        ["predict", "model", "--baseline", "a.nii.gz", "--followup", "a.nii.gz", "--out", "out"],
        ["compare", "run", "--metric", "dice"],
        ["report", "run"],
        ["power", "run", "--difference", "0.1"],
        ["data", "cohort.csv"],
        ["prepare", ".", "out"],
        ["synth", "out"],
        ["synth-check", ".", "out"],
        ["explain", "dice", "--out", "figure.png"],
        ["nnunet", "env"],
        ["init", "."],
        ["collect", "out", "--table", "cohort.csv"],
        ["self-check", "model", "--baseline", "a.nii.gz", "--followup", "a.nii.gz", "--out", "out"],
    ]
    ended = dict(zip([line[0] for line in lines], run_commands(bare, lines, tmp_path), strict=True))
    assert set(ended) | {line[0] for line in WITHOUT_EXTRAS} == set(get_group(app).commands)
    for name, each in ended.items():
        extra = {"evaluate": "metrics", "metrics": "metrics", "nnunet": "nnunet"}.get(name, "bench")
        pattern = rf'lesionloss: {name} needs \w+, which is not installed: pip install "lesionloss\[{extra}\]"'
        assert re.fullmatch(pattern, each.err.strip()), each
        assert each.code == 2


def test_the_extra_metrics_is_enough_to_evaluate(wheel: Path, tmp_path: Path) -> None:
    interpreter = linked_venv(tmp_path / "venv", wheel, "metrics")
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[2:5, 2:5, 2:5] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "a.nii.gz")
    lines = [["evaluate", "a.nii.gz", "a.nii.gz", "--lesions"], ["metrics"]]
    assert [each for each in run_commands(interpreter, lines, tmp_path) if each.code] == []


@pytest.mark.slow
def test_it_installs_from_the_index(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    interpreter = tmp_path / "venv" / "bin" / "python"
    run_python(interpreter, "-m", "pip", "install", "--quiet", str(wheel), folder=tmp_path)
    assert run_python(interpreter, "-c", USE_A_LOSS, folder=tmp_path) == "used\n"
