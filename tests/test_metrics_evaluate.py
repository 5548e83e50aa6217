"""`lesionloss evaluate`: files in, tables out; what doesn't fit is said, and never left out in silence."""

import csv
import json
import math
import os
import sys

import numpy as np
import pytest

from lesionloss.cli import main
from lesionloss.cli.evaluate_options import split_names
from lesionloss.data.nifti import read_labels, read_probability, write_volume
from lesionloss.errors import DataError
from lesionloss.metrics import Case, score
from lesionloss.metrics.evaluation import for_each_case
from lesionloss.metrics.pairing import match_files
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


def test_with_maps_beside_masks_the_threshold_is_that_of_the_maps(run, folder):
    run("masks refs --probabilities maps --thresholds 0.1:0.9:0.1 --want-recall 0.5 --out curve.csv")
    level = json.loads((folder / "curve.json").read_text())["chosen"]["threshold"]
    assert level != 0.5
    _, screen, _ = run("masks refs --probabilities maps --threshold-from curve.json -m recall,brier --json")
    _, wanted, _ = run(f"maps refs --threshold {level} -m recall,brier --json")
    assert json.loads(screen) == json.loads(wanted)
    assert json.loads(screen)["threshold"] == level


def test_a_metric_that_is_asked_for_twice_counts_once(run):
    _, screen, _ = run("masks refs -m dice,hd95,dice --json")
    assert [(each["metric"], each["n"]) for each in json.loads(screen)["metrics"]] == [("dice", 3), ("hd95", 3)]


def test_cases_are_counted_by_what_is_empty(run, folder):
    for kind, name, filled in (("masks", "alarm", True), ("refs", "alarm", False), ("masks", "healthy", False)):
        array = np.zeros((9, 9, 9), dtype=bool)
        array[2:5, 2:5, 2:5] = filled
        write_volume(folder / kind / f"{name}.nii.gz", array, np.eye(4))
    write_volume(folder / "refs" / "healthy.nii.gz", np.zeros((9, 9, 9), dtype=bool), np.eye(4))
    _, screen, _ = run("masks refs -m dice,dice(both_empty=1),false_positive_lesion_volume_mm3")
    assert "of 5 cases, 1 missed (nothing predicted), 1 false alarms (nothing there), 1 rightly empty" in screen
    assert "specificity by case 0.5 (n = 2)" in screen
    _, screen, _ = run("masks refs -m dice,dice(both_empty=1),false_positive_lesion_volume_mm3 --json")
    summary = json.loads(screen)
    assert summary["cases"] == [
        {"class": "", "n": 5, "missed": 1, "false_alarms": 1, "rightly_empty": 1, "specificity": 0.5}
    ]
    assert [each["n_defined"] for each in summary["metrics"]] == [3, 4, 5]
    assert [each["n_penalised"] for each in summary["metrics"]] == [4, 5, 5]


def test_hidden_files_are_no_cases(run, folder):
    (folder / "masks" / "._a.nii.gz").write_bytes(b"of macOS")
    code, screen, _ = run("masks refs -m dice")
    assert (code, "3 of 3" in screen) == (0, True)


def test_slices(run, folder):
    """2-D files, with and without a third axis, give what the arrays give."""
    probability, mask, reference = (array[:, :, 3] for array in arrays("a"))
    names = ["dice", "hd95", "assd", "nsd", "hd95_surfel", "lesion_f1", "volume_mm3"]
    wanted = score(Case(mask, reference, spacing_mm=SPACING[:2]), names)
    wanted["volume_mm3"] *= SPACING[2]
    for kind, array in (("p2", mask), ("r2", reference), ("m2", probability)):
        write_volume(folder / f"{kind}.nii.gz", array, AFFINE)
        write_volume(folder / f"{kind}_axis.nii.gz", array[..., None], AFFINE)
    for line in ("p2.nii.gz r2.nii.gz", "p2_axis.nii.gz r2_axis.nii.gz", "m2.nii.gz r2_axis.nii.gz --threshold 0.5"):
        code, screen, error = run(f"{line} -m {','.join(names)} --json")
        assert code == 0, error
        got = {each["metric"]: each["mean"] for each in json.loads(screen)["metrics"]}
        assert got == pytest.approx(wanted, rel=1e-6)


def _dies(files, argument):
    os._exit(9)


def test_a_process_that_dies_is_reported(folder):
    matched = match_files(folder / "masks", folder / "refs", {})
    with pytest.raises(DataError, match="ended from outside, most likely for want of memory; try fewer"):
        for_each_case(_dies, matched.cases, None, jobs=2)


def test_a_class_that_is_missed_is_penalised_in_the_mean(run, folder):
    labels = np.zeros((8, 8, 8), dtype=np.uint8)
    labels[1:3, 1:3, 1:3], labels[5:7, 5:7, 5:7] = 1, 2
    write_volume(folder / "true.nii.gz", labels, np.eye(4))
    write_volume(folder / "pred.nii.gz", labels * (labels == 1), np.eye(4))
    run("pred.nii.gz true.nii.gz --classes 1,2 -m dice,hd95,volume_mm3 --out scores.csv")
    rows = {(row["class"], row["metric"]): row for row in table(folder / "scores.csv")}
    assert (rows["mean", "dice"]["value"], rows["mean", "hd95"]["value"]) == ("0.5", "inf")
    assert float(rows["mean", "hd95"]["penalised"]) == pytest.approx(math.sqrt(3) * 8 / 2)
    assert rows["2", "dice"]["status"] == "pred_empty"
    assert ("mean", "volume_mm3") not in rows


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
        ("masks refs --classes 1 -m nll", 2, "there are none with --classes"),
        ("masks refs --classes 1 --probabilities maps", 2, "--classes and --probabilities exclude each other"),
        ("maps refs --thresholds 0:1:0.1 -m dice", 2, "--thresholds and --metrics exclude each other"),
        ("maps refs --thresholds 0:1:0.1 --lesions", 2, "--thresholds and --lesions exclude each other"),
        ("maps refs --thresholds 0:1:0.1 --brain brains", 2, "--thresholds and --brain exclude each other"),
        ("maps refs --thresholds 0:1:0.1 --want-recall 80", 2, "expected a share above 0 and up to 1, got 80"),
        ("masks refs -m hd(percent=200)", 2, "'percent' is a number from 0 to 100"),
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
