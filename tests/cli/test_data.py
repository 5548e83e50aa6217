"""`lesionloss data`: the table, the problems, the exit code."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import miniature
from data_cohorts import REAL_LIT, write_lit, write_msseg2
from lesionloss.cli import app
from tiny_runs import tiny_plan


def data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_a_good_cohort_is_a_table_with_sums(tmp_path: Path) -> None:
    result = data(write_msseg2(tmp_path))
    assert result.exit_code == 0
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines()[1:]}
    assert rows["014"] == ["014", "014", "2", "22x24x14", "1.00x1.00x3.00", "1", "24", "0.108%", "yes"]
    assert rows["sum"] == ["sum", "3", "6", "3", "72", "0.108%"]


def test_json_says_the_same(tmp_path: Path) -> None:
    result = data(write_msseg2(tmp_path), "--json")
    found = json.loads(result.stdout)
    assert [case["lesions"] for case in found["cases"]] == [0, 1, 2]
    assert found["cases"][2]["lesion_mm3"] == pytest.approx(48)
    assert found["sums"]["lesion_share"] == pytest.approx(24 / (3 * 22 * 24 * 14))
    assert (found["layout"], found["target"], found["problems"]) == ("msseg2", "new_lesions", [])


def test_every_problem_is_listed_and_the_exit_code_is_1(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=5)
    (root / "patient01" / "gt.nii.gz").write_bytes(b"")
    (root / "patient02" / "study1_FLAIR.nii.gz").unlink()
    twin = root / "patient03" / "study2_FLAIR.nii.gz"
    twin.write_bytes((root / "patient04" / "study1_FLAIR.nii.gz").read_bytes())
    result = data(root)
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    assert result.exit_code == 1
    assert len(problems) == 3
    assert "patient02 is left out: no study1_FLAIR.nii.gz" in problems[0]
    assert "is the same image as" in problems[1]
    assert "gt.nii.gz: the file is empty" in problems[2]
    assert json.loads(data(root, "--json").stdout)["sums"]["cases"] == 3
    assert data(root, "--json").exit_code == 1


def test_the_target_changes_what_is_counted(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=1)
    counts = [
        json.loads(data(root, "--json", *more).stdout)["sums"]["lesions"] for more in ([], ["--target", "change"])
    ]
    assert counts == [1, 2]


def test_the_figures_of_a_table_in_print_with_batches_of_a_plan(tmp_path: Path) -> None:
    root = write_msseg2(tmp_path / "data")
    record = json.loads(data(root, "--json").stdout)
    sums = record["sums"]
    assert (sums["lesion_size_voxels"]["mean"], sums["lesion_size_mm3"]["mean"]) == pytest.approx((8, 24))
    lesion, brain = (sum(case[name] for case in record["cases"]) for name in ("lesion_voxels", "brain_voxels"))
    assert sums["lesion_share_of_all_brains"] == pytest.approx(lesion / brain)
    lines = data(root).stdout.splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("as in Table 1 of Cabezas & Diez"))
    assert "  Dataset  % (brain)" in lines[place + 1]
    assert lines[place + 2].split()[-5:] == ["-", "8", "(24", "mm³)", "3"]
    plan = tiny_plan(root).changed({"training": {"patch": [8, 8, 8], "batch": 2, "steps": 5}})
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    drawn = json.loads(data(root, "--plan", tmp_path / "plan.toml", "--json").stdout)["training_batches"]
    assert (drawn["batches"], drawn["patches"]) == (5, 10)
    assert 0 < drawn["total_share"] < 0.1
    assert "; 5 batches of 2" in data(root, "--plan", tmp_path / "plan.toml").stdout


def test_without_brain_masks_shares_are_of_the_image_and_only_heads_have_skulls(tmp_path: Path) -> None:
    miniature.acdc(tmp_path / "acdc")
    miniature.nnunet(tmp_path / "nnunet")
    root = write_msseg2(tmp_path / "msseg2")
    for mask in root.rglob("brain_mask.nii.gz"):
        mask.unlink()
    heart, unknown, head = (data(f"{name}:{tmp_path / name}").stdout for name in ("acdc", "nnunet", "msseg2"))
    assert "skull" not in heart
    assert "no brain mask (if these are heads): prepare makes a simple one" in unknown
    assert "no brain mask: prepare makes a simple one that keeps parts of the skull" in head
    assert "[all together]; no brain mask" in head
    assert "% (image)" in head


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_the_real_set() -> None:
    result = data(REAL_LIT, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [case["lesion_voxels"] for case in found["cases"]] == [1913, 2287, 698]
    assert len(found["problems"]) == 17
    assert "patient03/gt.nii.gz: 72 reference voxels (2.6%)" in found["problems"][-1]
    assert found["sums"]["positive_cases"] == 3


@pytest.mark.parametrize(
    "command",
    [
        ("data", "DICOM"),
        ("prepare", "DICOM", "OUT"),
        ("train", "--loss", "dice", "--data", "DICOM", "--out", "OUT"),
        ("bench", "quickstart", "--data", "DICOM", "--out", "OUT"),
        ("bench", "quickstart", "--data", "DICOM", "--dry-run"),
    ],
    ids=" ".join,
)
def test_damaged_dicom_files_are_one_line_in_every_command(cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = tmp_path / "dicom" / "A1" / "visit1"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"IM{number}").write_bytes(bytes(128) + b"DICM" + bytes(100))
    places = {"DICOM": str(tmp_path / "dicom"), "OUT": str(tmp_path / "out")}
    code, out, said = cli(*(places.get(word, word) for word in command))
    assert code == 1
    problems = [
        line for line in (out + said).splitlines() if not line.startswith("dicom (") and "DICOM series" not in line
    ]
    assert len(problems) == 1, out + said
    refused = (
        "A1 has no reference; training and scores need one" if command[0] in ("train", "bench") else "IM0: damaged"
    )
    assert refused in problems[0]
    assert not (tmp_path / "out").exists()
