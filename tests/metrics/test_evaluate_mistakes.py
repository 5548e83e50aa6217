"""`lesionloss evaluate`: what doesn't fit is said in one line, and never left out or overwritten in silence."""

import numpy as np
import pytest

from evaluate_cases import AFFINE, arrays
from lesionloss.cli.evaluate_options import split_names
from lesionloss.core.errors import DataError
from lesionloss.data.nifti import read_labels, read_probability, write_volume


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("masks nowhere", 2, "nowhere: no such file or folder"),
        ("masks refs/a.nii.gz", 2, "give files only or folders only"),
        ("masks/a.nii.gz refs", 2, "give files only or folders only"),
        ("masks", 2, "evaluate needs references: a file or a folder, or --references DATASET"),
        ("masks refs --references lit:refs", 2, "REFERENCES and --references exclude each other"),
        ("masks refs --target change", 2, "name the dataset with --references"),
        ("masks refs -m dise", 2, "did you mean 'dice'"),
        ("masks refs -m nll", 2, "metric 'nll' needs probability maps"),
        ("masks refs --out scores.txt", 2, "ends in .csv"),
        ("masks refs --threshold 0.5 --thresholds 0:1:0.1", 2, "--threshold and --thresholds exclude each other"),
        ("masks refs --threshold 0.5 --classes 1", 2, "--threshold and --classes exclude each other"),
        ("masks refs --want-recall 0.5", 2, "add --thresholds"),
        ("masks refs --threshold-from refs/a.nii.gz", 2, "no chosen threshold in it"),
        ("masks refs --classes one", 2, "expected whole numbers"),
        ("masks refs --classes 1 -m nll", 2, "there are none with --classes"),
        ("masks refs --classes 1 --probabilities maps", 2, "--classes and --probabilities exclude each other"),
        ("maps refs --thresholds 0:1:0.1 -m dice", 2, "--thresholds and --metrics exclude each other"),
        ("maps refs --thresholds 0:1:0.1 --lesions", 2, "--thresholds and --lesions exclude each other"),
        ("maps refs --thresholds 0:1:0.1 --brain brains", 2, "--thresholds and --brain exclude each other"),
        ("maps refs --thresholds 0:1:0.1 --want-recall 80", 2, "expected a share above 0 and up to 1, got 80"),
        ("masks refs -m hd(percent=200)", 2, "percent must be a number from 0 to 100"),
        ("maps refs", 1, "these look like probabilities; add --threshold 0.5"),
        ("masks refs --out refs/a.nii.gz/scores.csv", 2, "can't write there"),
        ("maps refs --thresholds 0.9:0.99:0.01 --want-recall 0.99", 2, "no threshold from 0.9 to 0.99"),
    ],
)
def test_mistakes_in_one_line(run, line, code, message):
    got, _, error = run(line)
    assert got == code
    assert message in error
    assert "Traceback" not in error


def test_files_without_a_partner_are_named(run, folder):
    (folder / "masks" / "a.nii.gz").unlink()
    code, _, error = run("masks refs -m dice")
    assert code == 1
    assert "no prediction for a; add or rename" in error
    code, screen, _ = run("masks refs -m dice --matched-only")
    assert code == 0
    assert "left out: no prediction for a" in screen
    assert "2 of 2" in screen


def test_nothing_in_common(run, folder):
    (folder / "other").mkdir()
    code, _, error = run("masks other")
    assert (code, "no .nii or .nii.gz file" in error) == (2, True)
    write_volume(folder / "other" / "z.nii.gz", np.ones((3, 3, 3), dtype=bool), np.eye(4))
    code, _, error = run("masks other --matched-only")
    assert (code, "no name is in all folders" in error) == (2, True)


def test_another_grid_is_refused(run, folder):
    shifted = AFFINE.copy()
    shifted[0, 3] = 0.5
    write_volume(folder / "masks" / "a.nii.gz", arrays("a")[1], shifted)
    code, _, error = run("masks refs -m dice")
    assert code == 1
    assert "not on one grid" in error


def test_all_unreadable_files_are_named_at_once(run, folder):
    for name in ("a", "b/c"):
        path = folder / "masks" / f"{name}.nii.gz"
        path.write_bytes(path.read_bytes()[:-20])
    code, _, error = run("masks refs -m dice --out scores.csv")
    assert code == 1
    assert "2 of 3 cases can't be read" in error
    assert error.count("cut off") == 2
    assert not (folder / "scores.csv").exists()


def test_a_mask_of_0_and_2_gets_the_advice_for_masks(run, folder):
    write_volume(folder / "masks" / "a.nii.gz", arrays("a")[1].astype(np.uint8) * 2, AFFINE)
    code, _, error = run("masks refs -m dice")
    assert (code, "divide the mask by 2" in error) == (1, True)


def test_nothing_is_overwritten(run, folder):
    assert run("masks refs -m dice --out scores.csv")[0] == 0
    before = (folder / "scores.csv").read_text()
    code, _, error = run("masks refs -m jaccard --out scores.csv")
    assert (code, "--force" in error) == (2, True)
    assert (folder / "scores.csv").read_text() == before
    assert run("masks refs -m jaccard --out scores.csv --force")[0] == 0
    assert (folder / "scores.csv").read_text() != before


def test_names_are_split_outside_parentheses():
    assert split_names("dice, nsd(tolerance_mm=2),f(a=1, b=2)") == ["dice", "nsd(tolerance_mm=2)", "f(a=1, b=2)"]


def test_maps_and_labels_outside_their_range_are_refused(tmp_path):
    ramp = np.linspace(0, 1.0005, 27, dtype=np.float32).reshape(3, 3, 3)
    write_volume(tmp_path / "map.nii.gz", ramp, np.eye(4))
    assert read_probability(tmp_path / "map.nii.gz").array.max() == 1
    write_volume(tmp_path / "zero.nii.gz", 0 * ramp, np.eye(4))
    assert not read_probability(tmp_path / "zero.nii.gz").array.any()
    write_volume(tmp_path / "bad.nii.gz", ramp * 255, np.eye(4))
    with pytest.raises(DataError, match="divide an 8-bit map by 255"):
        read_probability(tmp_path / "bad.nii.gz")
    write_volume(tmp_path / "labels.nii.gz", np.full((3, 3, 3), 2.0001, dtype=np.float32), np.eye(4))
    assert (read_labels(tmp_path / "labels.nii.gz").array == 2).all()
    with pytest.raises(DataError, match=r"holds whole numbers"):
        read_labels(tmp_path / "map.nii.gz")
