"""`lesionloss evaluate`: files in, tables out; what doesn't fit is said, and never left out in silence."""

import csv
import json
import sys

import numpy as np
import pytest

from lesionloss.cli import main
from lesionloss.cli.evaluate_options import split_names
from lesionloss.data.nifti import read_labels, read_probability, write_volume
from lesionloss.errors import DataError
from lesionloss.metrics import Case, score
from lesionloss.metrics.thresholds import count_thresholds
from lesionloss.randomness import numpy_generator

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


def test_every_metric_of_every_case(run, folder):
    code, screen, _ = run("masks refs --probabilities maps --brain brains --out scores.csv")
    assert code == 0
    rows = table(folder / "scores.csv")
    cells = {(row["case"], row["metric"]): row for row in rows}
    for name in NAMES:
        probability, mask, reference = arrays(name)
        case = Case(mask, reference, spacing_mm=SPACING, probability=probability, brain=np.ones_like(reference))
        metrics = [row["metric"] for row in rows if row["case"] == name]
        assert {"dice", "hd95", "nsd_surfel", "lesion_f1", "nll_near", "ece_brain"} <= set(metrics)
        for metric, value in score(case, metrics).items():
            written = cells[name, metric]["value"]
            assert (float(written) if written else np.nan) == pytest.approx(value, rel=1e-6, nan_ok=True)
            assert cells[name, metric]["status"] == ("pred_empty" if name == "missed" else "ok")
    assert cells["missed", "hd95"]["value"] == "inf"
    assert float(cells["missed", "hd95"]["penalised"]) == pytest.approx(np.hypot.reduce([14.4, 13.5, 24.0]))
    assert cells["missed", "precision"]["value"] == ""
    assert "1 missed (nothing predicted)" in screen
    assert "2 of 3" in screen


def test_summary_in_json_has_its_n(run, folder):
    _, screen, _ = run("masks refs --metrics dice,hd95 --out scores.csv --json")
    summary = json.loads(screen)
    assert summary == json.loads((folder / "scores.json").read_text())
    assert [(each["metric"], each["n_defined"], each["n"]) for each in summary["metrics"]] == [
        ("dice", 3, 3),
        ("hd95", 2, 3),
    ]
    assert summary["metrics"][1]["n_penalised"] == 3
    assert summary["metrics"][1]["missed_cases"] == 1


def test_two_processes_give_the_same(run, folder):
    run("masks refs -m dice,hd95 --out one.csv")
    run("masks refs -m dice,hd95 --out two.csv", jobs=2)
    assert (folder / "one.csv").read_text() == (folder / "two.csv").read_text()


def test_two_files(run):
    code, screen, _ = run("masks/a.nii.gz refs/a.nii.gz -m lesion_f1(connectivity=26,min_voxels=2)")
    assert code == 0
    assert "lesion_f1(connectivity=26,min_voxels=2)" in screen
    assert "1 of 1" in screen


def test_lesions_one_by_one_and_by_size(run, folder):
    code, screen, _ = run("masks refs -m dice --lesions --out scores.csv")
    assert code == 0
    rows = [row for row in table(folder / "scores.csv") if row["lesion"].startswith("reference")]
    assert len([row for row in rows if row["metric"] == "lesion_found"]) == 6
    assert {row["value"] for row in rows if row["metric"] == "lesion_found" and row["case"] == "missed"} == {"0.0"}
    assert "reference lesions found" in screen


def test_maps_with_a_threshold(run):
    _, screen, _ = run("maps refs --threshold 0.5 -m dice,brier --json")
    _, masks, _ = run("masks refs --probabilities maps -m dice,brier --json")
    assert json.loads(screen)["metrics"] == json.loads(masks)["metrics"]


def test_a_threshold_chosen_on_one_set_is_applied_to_another(run, folder):
    code, screen, _ = run("maps refs --thresholds 0.1:0.9:0.1 --want-recall 0.5 --out curve.csv")
    assert code == 0
    assert "chosen" in screen
    curve = json.loads((folder / "curve.json").read_text())
    counts = [count_thresholds(p, r, [0.3]) for p, _, r in map(arrays, NAMES)]
    point = next(point for point in curve["curve"] if point["threshold"] == pytest.approx(0.3))
    assert point["recall"] == pytest.approx(np.mean([count.recall[0] for count in counts]))
    assert (point["precision_n"], point["recall_n"]) == (2, 3)
    assert curve["chosen"]["recall"] >= 0.5
    assert len(table(folder / "curve.csv")) == 9 * 3
    _, applied, _ = run("maps refs --threshold-from curve.json -m recall --json")
    assert json.loads(applied)["metrics"][0]["mean"] == pytest.approx(curve["chosen"]["recall"])


def test_label_maps(run, folder):
    for kind, sign in (("pred", 1), ("true", 0)):
        labels = np.zeros((8, 8, 8), dtype=np.uint8)
        labels[2:5, 2:5, 2:5] = 1
        labels[5:7, 5:7, 5 + sign : 7] = 2
        write_volume(folder / f"{kind}.nii.gz", labels, np.eye(4))
    code, screen, _ = run("pred.nii.gz true.nii.gz --classes 1,2 -m dice --json")
    assert code == 0
    assert [(each["class"], each["mean"]) for each in json.loads(screen)["metrics"]] == [
        ("1", 1.0),
        ("2", pytest.approx(2 / 3)),
        ("mean", pytest.approx(5 / 6)),
    ]


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("masks nowhere", 2, "nowhere: no such file or folder"),
        ("masks refs/a.nii.gz", 2, "give files only or folders only"),
        ("masks/a.nii.gz refs", 2, "give files only or folders only"),
        ("masks refs -m dise", 2, "did you mean 'dice'"),
        ("masks refs -m nll", 2, "metric 'nll' needs probability maps"),
        ("masks refs --out scores.txt", 2, "ends in .csv"),
        ("masks refs --threshold 0.5 --thresholds 0:1:0.1", 2, "--threshold and --thresholds exclude each other"),
        ("masks refs --threshold 0.5 --classes 1", 2, "--threshold and --classes exclude each other"),
        ("masks refs --want-recall 0.5", 2, "add --thresholds"),
        ("masks refs --threshold-from refs/a.nii.gz", 2, "no chosen threshold in it"),
        ("masks refs --classes one", 2, "expected whole numbers"),
        ("maps refs", 1, "these look like probabilities"),
        ("maps refs --thresholds 0.9:0.99:0.01 --want-recall 0.99", 2, "no threshold from 0.9 to 0.99"),
    ],
)
def test_mistakes_in_one_line(run, line, code, message):
    got, _, error = run(line)
    assert got == code
    assert message in error
    assert "Traceback" not in error


def test_what_has_no_partner_is_named(run, folder):
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
    assert error.count("cut off") == 2
    assert not (folder / "scores.csv").exists()


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


def test_maps_and_labels_are_believed_within_their_range_only(tmp_path):
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
