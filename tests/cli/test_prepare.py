"""`lesionloss prepare` as a user meets it: plans, options, several processes, a kill in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from data_cohorts import array, boxes, save, write_lit, write_msseg2
from lesionloss.cli import app
from lesionloss.cli.prepare import chosen_recipe
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import open_cohort
from lesionloss.data.cohort_index import load_index
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.prepared import load_prepared, to_original_grid


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_a_cohort_is_prepared_with_a_record_per_case_and_only_once(tmp_path: Path) -> None:
    root = write_msseg2(tmp_path / "raw")
    (root / "training" / "014" / "brain_mask.nii.gz").unlink()
    first = prepare(root, tmp_path / "out")
    assert first.exit_code == 0, first.output
    assert "3 cases prepared, 0 unchanged" in first.output
    assert "repaired: 014: no brain mask; a simple one was made" in first.output
    record = json.loads((tmp_path / "out" / "013.json").read_text())
    assert set(record["made_from"]["sha256"]) == {
        f"training/013/{name}.nii.gz"
        for name in ("flair_time01_on_middle_space", "flair_time02_on_middle_space", "brain_mask", "ground_truth")
    }
    assert record["made_from"]["preparation"]["crop"] == {"margin_voxels": 4}
    assert record["versions"]["numpy"] == np.__version__
    assert record["steps"]["brain"] == {"from": "file"}
    assert str(tmp_path) not in (tmp_path / "out" / "014.json").read_text()
    assert "0 cases prepared, 3 unchanged" in prepare(root, tmp_path / "out").output
    assert "3 cases prepared, 0 unchanged" in prepare(root, tmp_path / "out", "--margin", 1).output


def test_the_default_plan_gives_what_a_benchmark_gets(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw")
    assert prepare(root, tmp_path / "a").exit_code == 0
    index = prepare_cohort(open_cohort(root), tmp_path / "b").index
    assert load_index(tmp_path / "a") == index


def test_two_processes_give_the_same_and_lesions_are_counted(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw")
    for patient in ("patient01", "patient02", "patient03"):
        save(root / patient / "gt.nii.gz", (boxes((8, 9, 5), edge=5) | boxes((5, 9, 11), edge=1)).astype(np.uint8))
    options = ("--spacing", "3,3,3", "--target", "change")
    assert prepare(root, tmp_path / "one", *options).exit_code == 0
    two = prepare(root, tmp_path / "two", *options, "--jobs", 2)
    assert two.exit_code == 0, two.output
    assert load_index(tmp_path / "one") == load_index(tmp_path / "two")
    assert "repaired: patient01: 1 lesions kept by their centre voxel in resampling" in two.output
    facts = json.loads((tmp_path / "two" / "patient01.json").read_text())["steps"]["resample"]
    assert (facts["lesions_before"], facts["lesions_after"], facts["kept_by_centre"]) == (2, 2, 1)
    case = load_prepared(tmp_path / "two" / "patient01.npz")
    assert case.spacing_mm == pytest.approx((3, 3, 3))
    assert to_original_grid(case.reference, case).shape == (22, 24, 14)


def test_visits_on_two_grids_need_registration(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw", patients=1)
    shifted = np.array([[-1.0, 0, 0, 13], [0, -1.0, 0, 12], [0, 0, 3.0, -20], [0, 0, 0, 1]])
    path = root / "patient01" / "study1_FLAIR.nii.gz"
    save(path, array(path), shifted)
    refused = prepare(root, tmp_path / "out")
    assert isinstance(refused.exception, DataError)
    assert "not on one grid" in str(refused.exception)
    done = prepare(root, tmp_path / "out", "--register", "followup")
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "out" / "patient01.json").read_text())["steps"]["register"]
    assert facts["reference_of"] == "followup"
    assert len(facts["followup_to_baseline_mm"]) == 4
    halfway = prepare(root, tmp_path / "half", "--register", "halfway", "--n4")
    assert halfway.exit_code == 0, halfway.output
    case = load_prepared(tmp_path / "half" / "patient01.npz")
    assert case.origin is not None
    assert to_original_grid(case.reference, case).any()


def test_every_problem_is_listed(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw")
    for patient in ("patient01", "patient03"):
        (root / patient / "gt.nii.gz").write_bytes(b"")
    result = prepare(root, tmp_path / "out", "--jobs", 2)
    assert isinstance(result.exception, DataError)
    assert result.output.count("the file is empty; fetch it again") == 2
    assert load_prepared(tmp_path / "out" / "patient02.npz").name == "patient02"


def test_options_change_the_plan_and_keep_its_order(tmp_path: Path) -> None:
    shown = prepare(tmp_path, tmp_path, "--print", "--n4", "--brain-from", "hd-bet", "--register", "followup")
    assert shown.exit_code == 0
    (tmp_path / "plan.toml").write_text(shown.output)
    recipe = chosen_recipe(tmp_path / "plan.toml", None, None, None, "0.5,0.75,0.75", 2)
    assert recipe.steps == ("orient", "register", "n4", "brain", "resample", "crop", "normalise", "subtract")
    assert recipe.brain.command[0] == "hd-bet"
    assert recipe.register_.to == "followup"
    assert recipe.resample.spacing_mm == (0.5, 0.75, 0.75)
    plain = chosen_recipe(tmp_path / "plan.toml", "none", False, "builtin", "none", None)
    assert plain.steps == ("orient", "brain", "crop", "normalise", "subtract")
    assert chosen_recipe(None, None, None, None, None, None, "LPS").axes == "LPS"
    assert chosen_recipe(None, None, None, None, None, None, "none").steps[0] == "brain"
    with pytest.raises(UsageError, match="to must name three directions, one each of R/L, A/P and S/I"):
        chosen_recipe(None, None, None, None, None, None, "RAR")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("halfwy", None, None, None), "--register: no 'halfwy'; did you mean 'halfway'"),
        ((None, None, "hdbet", None), "--brain-from: no 'hdbet'; did you mean 'hd-bet'"),
        ((None, None, None, "a,b"), "--spacing: expected millimetres"),
        ((None, None, None, "1"), "one number per axis"),
        ((None, None, None, "0,1,1"), "--spacing: expected edges of 0.05 to 50 mm, got '0,1,1'"),
        ((None, None, None, "nan,1,1"), "expected edges of 0.05 to 50 mm"),
    ],
)
def test_wrong_options_are_explained(options: tuple[None, None, None, None], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_recipe(None, *options, None)
    assert message in str(caught.value)


def test_a_run_that_is_killed_leaves_only_whole_cases(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "raw", patients=40)
    out = tmp_path / "out"
    code = "from lesionloss.cli import main; main()"
    running = subprocess.Popen(
        [sys.executable, "-c", code, "prepare", str(root), str(out), "--target", "change"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob("patient*.npz"))) < 4 and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    left = {path.name: path.stat().st_mtime_ns for path in out.glob("patient*.npz")}
    assert 4 <= len(left) < 40
    for name in left:
        assert load_prepared(out / name).name == name.removesuffix(".npz")
    assert not (out / "index.json").exists()
    again = prepare(root, out, "--target", "change")
    assert again.exit_code == 0, again.output
    assert f"{40 - len(left)} cases prepared, {len(left)} unchanged" in again.output
    assert {name: (out / name).stat().st_mtime_ns for name in left} == left
    assert len(list(out.glob("patient*.json"))) == 40
