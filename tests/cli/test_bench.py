"""`lesionloss bench` as a user meets it: one clear line for every mistake, the right exit code, nothing lost."""

import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lesionloss.cli import main
from lesionloss.runs.load_run import load
from make_cohort import write_cohort

PLAN = """
name = "tiny"
losses = ["dice", "cross_entropy"]
baseline_loss = "dice"
metrics = ["dice", "hd95"]
folds = 2
seeds = [1]
[data]
layout = "msseg2"
margin_voxels = 2
[network]
text = "unet3d(filters=2, levels=2)"
[training]
steps = 2
batch = 1
patch = [8, 8, 8]
jitter = 2
precision = "float32"
"""
FOLLOWUP = "flair_time02_on_middle_space.nii.gz"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), (2, 1, 2))


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "data"))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and the one line of error."""
    monkeypatch.setattr(sys, "argv", ["lesionloss", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("lesionloss: ")]
    assert "Traceback" not in printed.err
    return int(stopped.value.code or 0), lines[-1] if lines else ""


@pytest.mark.usefixtures("figures_only_as_svg")
def test_a_plan_runs_compares_and_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path, plan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert call(monkeypatch, capsys, "bench", plan, "--data", data, "--out", out) == (0, "")
    assert call(monkeypatch, capsys, "bench", "--status", out, "--json") == (0, "")
    assert call(monkeypatch, capsys, "bench", plan, "--data", data, "--out", out, "--dry-run") == (0, "")
    assert call(monkeypatch, capsys, "compare", out, "--metric", "dice") == (0, "")
    assert call(monkeypatch, capsys, "report", out) == (0, "")
    page = (out / "report.html").read_text()
    assert "cross_entropy" in page
    assert "difference threshold (no training)" in page
    for options in ([], ["--dry-run"]):
        code, line = call(
            monkeypatch, capsys, "bench", plan, "--data", data, "--out", out, "--loss", "hytver", *options
        )
        assert code == 2
        assert "holds a run of another plan (it differs in losses); add --extend to add its losses and seeds" in line
    more = ["bench", plan, "--data", data, "--out", out, "--loss", "hytver", "--extend"]
    assert call(monkeypatch, capsys, *more, "--dry-run") == (0, "")
    assert call(monkeypatch, capsys, *more) == (0, "")
    assert "hytver" in load(out).losses
    assert not load(out).missing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstrat"], "no preset is named 'quickstrat'; did you mean 'quickstart'"),
        (["absent.toml"], "no plan absent.toml; give a TOML file or one of the presets"),
        (["quickstart", "--loss", "hytverr"], "no loss is named 'hytverr'; did you mean 'hytver'"),
        (["quickstart", "--loss", "hytver(alpha=1)"], "hytver"),
        (["quickstart"], "bench needs a folder for its results: --out FOLDER"),
        (["quickstart", "--out", "x", "--device", "gpu"], "--device must be auto, cpu or cuda:N, got 'gpu'"),
        (["lit-smoke", "--out", "x"], "needs data: say where they are with --data FOLDER"),
        (["lit-smoke", "--data", "nowhere", "--out", "x"], "nowhere"),
        (["--status", "nowhere"], "nowhere is not a run folder: it has no plan.toml"),
        (["quickstart", "--out", "x", "--engine", "dask"], "--engine must be one of local, ray, slurm, got 'dask'"),
        (["quickstart", "--out", "x", "--jobs", "0"], "--jobs must be auto or a number from 1, got '0'"),
        (["quickstart", "--out", "x", "--together", "all"], "--together must be auto or a number from 1, got 'all'"),
        (["quickstart", "--out", "x", "--address", "auto"], "belong to --engine ray"),
        (["quickstart", "--out", "x", "--slurm", "partition=gpu"], "--slurm belongs to --engine slurm"),
    ],
)
def test_wrong_words_cost_one_line_and_code_2(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, line = call(monkeypatch, capsys, "bench", *arguments)
    assert code == 2
    assert message in line


def test_a_missing_file_of_losses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = call(monkeypatch, capsys, "--with", "absent.py", "losses")
    assert code == 2
    assert "absent.py" in line


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def rewrite(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    image = nibabel.Nifti1Image.from_filename(path)
    nibabel.save(nibabel.Nifti1Image(array, image.affine if affine is None else affine), path)


def array_of(path: Path) -> np.ndarray:
    return np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj, dtype=np.float32)


def with_nan(path: Path) -> None:
    array = array_of(path)
    array[10, 10, 10] = np.nan
    rewrite(path, array)


def shifted(path: Path) -> None:
    affine = nibabel.Nifti1Image.from_filename(path).affine.copy()
    affine[0, 3] += 5
    rewrite(path, array_of(path), affine)


def scaled_mask(path: Path) -> None:
    rewrite(path, (array_of(path) * 255).astype(np.uint8))


SPOILERS = [
    (FOLLOWUP, flip_a_bit, "damaged"),
    (FOLLOWUP, lambda path: path.write_bytes(b""), "empty"),
    (FOLLOWUP, with_nan, "NaN"),
    (FOLLOWUP, lambda path: rewrite(path, array_of(path)[:-1]), "(19, 20, 20)"),
    (FOLLOWUP, shifted, "up to 5 mm apart"),
    ("ground_truth.nii.gz", scaled_mask, "255"),
    ("ground_truth.nii.gz", lambda path: rewrite(path, array_of(path) * np.float32(0.4)), "0.4"),
]


@pytest.mark.parametrize(("name", "spoil", "message"), SPOILERS)
def test_a_spoilt_file_costs_one_line_and_code_1(
    name: str,
    spoil: object,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Path,
    plan: Path,
    tmp_path: Path,
) -> None:
    path = data / "training" / "002" / name
    assert callable(spoil)
    spoil(path)
    code, line = call(monkeypatch, capsys, "bench", plan, "--data", data, "--out", tmp_path / "run")
    assert code == 1
    assert str(path) in line
    assert message in line
    assert not (tmp_path / "run" / "trials").exists()


def test_data_that_cannot_be_listed_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path, plan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    (tmp_path / "none").mkdir()
    for wrong, message in ((tmp_path / "nowhere", "no such folder"), (tmp_path / "none", "msseg2")):
        code, line = call(monkeypatch, capsys, "bench", plan, "--data", wrong, "--out", out)
        assert code in (1, 2)
        assert message in line
        assert not out.exists()
    assert call(monkeypatch, capsys, "bench", plan, "--data", data, "--out", out) == (0, "")


def test_a_mask_that_a_scaled_uint8_made_slightly_wrong_is_repaired(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path, plan: Path, tmp_path: Path
) -> None:
    path = data / "training" / "002" / "ground_truth.nii.gz"
    rewrite(path, array_of(path) * np.float32(1.0000006))
    assert call(monkeypatch, capsys, "bench", plan, "--data", data, "--out", tmp_path / "run") == (0, "")


def test_a_patient_without_its_followup_is_reported_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path, plan: Path, tmp_path: Path
) -> None:
    (data / "training" / "003" / FOLLOWUP).unlink()
    monkeypatch.setattr(
        sys, "argv", ["lesionloss", "bench", str(plan), "--data", str(data), "--out", str(tmp_path / "r")]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    assert "left out: 003" in capsys.readouterr().err
