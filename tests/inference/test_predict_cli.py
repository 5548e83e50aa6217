"""A run's model predicts from the command line, and wrong options are one line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lesionloss import DataError, UsageError
from lesionloss.bench.run import run
from lesionloss.cli import app
from lesionloss.networks.bundle import load_bundle
from lesionloss.networks.shipped_models import model_folder
from make_cohort import write_cohort
from predict_cases import CHANNELS
from tiny_runs import tiny_plan


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run's first model and the cohort it was trained on."""
    data = write_cohort(tmp_path_factory.mktemp("data"))
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny_plan(data, ("dice",)), out)
    return next(out.glob("trials/*/model.json")).parent, data


def test_a_runs_model_is_a_bundle_with_its_preparation(trained: tuple[Path, Path]) -> None:
    bundle = load_bundle(trained[0])
    assert bundle.record.preparation["crop"] == {"margin_voxels": 2}
    assert bundle.record.preparation["steps"] == ["orient", "brain", "crop", "normalise", "subtract"]
    assert bundle.record.training["axes"] == "RAS"
    assert bundle.record.licence
    assert "their terms of use cover the weights" in bundle.record.data_note
    assert bundle.record.channels == CHANNELS
    assert bundle.record.training["loss"] == "dice"


@pytest.mark.usefixtures("no_pictures")
def test_the_shipped_model_predicts_where_none_is_named(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder = trained[1] / "training" / "001"
    files = [
        *("--baseline", str(folder / "flair_time01_on_middle_space.nii.gz")),
        *("--followup", str(folder / "flair_time02_on_middle_space.nii.gz")),
    ]
    brain = ["--brain", str(folder / "brain_mask.nii.gz")]
    result = CliRunner().invoke(app, ["predict", *files, *brain, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "prediction.json").read_text())
    shipped = load_bundle(model_folder(None)).record
    assert record["model"]["weights_sha256"] == shipped.weights_sha256
    assert (record["threshold"], record["depth_mm"]) == (shipped.threshold, shipped.depth_mm)


@pytest.mark.usefixtures("no_pictures")
def test_the_command_line_predicts(trained: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = trained
    folder = data / "training" / "001"
    files = [
        *("--baseline", str(folder / "flair_time01_on_middle_space.nii.gz")),
        *("--followup", str(folder / "flair_time02_on_middle_space.nii.gz")),
    ]
    runner = CliRunner()
    out = tmp_path / "one"
    command = ["predict", str(model), *files, "--brain", str(folder / "brain_mask.nii.gz"), "--precision", "float32"]
    result = runner.invoke(app, [*command, "--out", str(out), "--tta", "--inference-mode", "sliding_window(size=8)"])
    assert result.exit_code == 0, result.output
    assert "inference mode: sliding_window(size=8) (as requested)" in result.output
    names = {"new_lesions.nii.gz", "probability.nii.gz", "lesions.csv", "pictures.png", "prediction.json"}
    assert {path.name for path in out.iterdir()} == names
    record = json.loads((out / "prediction.json").read_text())
    assert (record["inference_mode"], record["mirrored"]) == ("sliding_window(size=8)", [0, 1, 2])
    command = ["predict", str(model), "--cohort", f"msseg2:{data}", "--out", str(tmp_path / "all"), "--sliding-window"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "inference mode: sliding_window(size=8) (as requested)" in result.output
    assert len(list((tmp_path / "all").glob("*/new_lesions.nii.gz"))) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "predict needs images"),
        (["--cohort", "x", "--followup", "y.nii.gz"], "not both"),
        (["--followup", "y.nii.gz", "--threshold", "1.5"], "--threshold is a probability"),
        (["--followup", "y.nii.gz", "--min-volume", "-1"], "--min-volume is a volume"),
        (["--followup", "y.nii.gz", "--connectivity", "7"], "6, 18 or 26"),
        (["--followup", "y.nii.gz", "--inference-mode", "hole"], "did you mean 'whole'"),
        (["--followup", "y.nii.gz", "--inference-mode", "whole", "--sliding-window"], "exclude each other"),
        (["--followup", "absent.nii.gz"], "absent.nii.gz: no such file"),
        (["--cohort", "absent.npz"], "no such prepared case"),
    ],
)
def test_wrong_options_are_one_line(trained: tuple[Path, Path], tmp_path: Path, options: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["predict", str(trained[0]), *options, "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UsageError | DataError)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
