"""`lesionloss evaluate`: files in, tables out."""

import json
import math
import os

import nibabel
import numpy as np
import pytest

from data_cohorts import LIT_NAMES, boxes, save, write_patient
from evaluate_cases import AFFINE, NAMES, SPACING, arrays, table
from lesionloss.core.errors import DataError
from lesionloss.data.nifti import write_volume
from lesionloss.metrics import Case, score
from lesionloss.metrics.file_matching import match_files
from lesionloss.metrics.parallel_cases import for_each_case
from lesionloss.metrics.thresholds import count_thresholds


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
    assert "1 missed (lesions, but nothing predicted)" in screen
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


def test_a_metric_that_is_named_twice_counts_once(run):
    _, screen, _ = run("masks refs -m dice,hd95,dice --json")
    assert [(each["metric"], each["n"]) for each in json.loads(screen)["metrics"]] == [("dice", 3), ("hd95", 3)]


def test_cases_with_an_empty_mask_are_counted(run, folder):
    for kind, name, filled in (("masks", "marked", True), ("refs", "marked", False), ("masks", "healthy", False)):
        array = np.zeros((9, 9, 9), dtype=bool)
        array[2:5, 2:5, 2:5] = filled
        write_volume(folder / kind / f"{name}.nii.gz", array, np.eye(4))
    write_volume(folder / "refs" / "healthy.nii.gz", np.zeros((9, 9, 9), dtype=bool), np.eye(4))
    _, screen, _ = run("masks refs -m dice,dice(both_empty=1),false_positive_lesion_volume_mm3")
    assert "of 5 cases, 1 missed (lesions, but nothing predicted), 1 false positive (no lesion, but something" in screen
    assert "predicted), 1 correctly empty; specificity" in screen
    assert "specificity by case 0.5 (n = 2)" in screen
    _, screen, _ = run("masks refs -m dice,dice(both_empty=1),false_positive_lesion_volume_mm3 --json")
    summary = json.loads(screen)
    assert summary["cases"] == [
        {"class": "", "n": 5, "missed": 1, "false_positive": 1, "correctly_empty": 1, "specificity": 0.5}
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
    with pytest.raises(DataError, match="was killed, most likely because memory ran out; try fewer"):
        for_each_case(_dies, matched.cases, None, jobs=2)


def test_a_missed_class_is_penalised_in_the_mean(run, folder):
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
    _, screen, _ = run("pred.nii.gz true.nii.gz --classes 1,2 --class-weights 1,3 -m dice --json")
    assert json.loads(screen)["metrics"][-1]["mean"] == pytest.approx((1 + 3 * 2 / 3) / 4)
    for words, message in (
        ("--classes 1,2 --class-weights 1", "--class-weights: expected a number of 0 or more for each of --classes"),
        ("--classes 1,2 --class-weights 1,x", "--class-weights: expected a number of 0 or more for each of --classes"),
        ("--class-weights 1,2", "--class-weights weighs the classes of --classes in their mean; give --classes too"),
    ):
        code, _, error = run(f"pred.nii.gz true.nii.gz {words}")
        assert code == 2
        assert message in error


def test_labels_beyond_float32_are_told_apart(run, folder):
    true = np.zeros((8, 8, 8), dtype=np.uint32)
    true[1:3], true[5:7] = 16777217, 16777216
    pred = np.where(true == 16777217, 16777216, 0).astype(np.uint32)
    for kind, labels in (("pred", pred), ("true", true), ("big", np.where(true > 0, 614454277, 0).astype(np.uint32))):
        write_volume(folder / f"{kind}.nii.gz", labels, np.eye(4))
    _, screen, _ = run("pred.nii.gz true.nii.gz --classes 16777216,16777217 -m dice --json")
    assert [each["mean"] for each in json.loads(screen)["metrics"]] == [0, 0, 0]
    _, screen, _ = run("big.nii.gz big.nii.gz --classes 614454277 -m dice --json")
    assert json.loads(screen)["metrics"][0]["mean"] == 1


def test_a_sheared_affine_is_refused(run, folder):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 3 * np.tan(np.deg2rad(25))
    for name in ("p", "r"):
        nibabel.save(nibabel.Nifti1Image(arrays("a")[2].astype(np.uint8), affine), folder / f"{name}.nii.gz")
    code, _, error = run("p.nii.gz r.nii.gz -m hd,volume_mm3")
    assert code == 1
    assert "sheared: its axes are 25 degrees off right angles" in error


def test_links_to_folders_are_followed_but_not_in_circles(run, folder):
    (folder / "elsewhere").mkdir()
    for kind in ("masks", "refs"):
        (folder / kind / "b").rename(folder / "elsewhere" / kind)
        (folder / kind / "b").symlink_to(folder / "elsewhere" / kind)
        (folder / "elsewhere" / kind / "back").symlink_to(folder / kind)
    cases = match_files(folder / "masks", folder / "refs", {}).cases
    assert [case.name for case in cases] == sorted(NAMES)
    assert run("masks refs -m dice")[0] == 0


def test_a_link_that_leads_nowhere_is_named(run, folder):
    (folder / "masks" / "a.nii.gz").unlink()
    (folder / "masks" / "a.nii.gz").symlink_to(".git/annex/objects/x")
    code, _, error = run("masks refs -m dice")
    assert code == 1
    assert "a.nii.gz: a link to a file that is not there" in error


def test_a_dataset_gives_the_references_of_its_target(run, folder):
    """A component of which a tenth darkens counts whole by its mean, and without that tenth voxel by voxel."""
    up, darker = boxes((8, 9, 5), edge=4), boxes((11, 9, 5), edge=1)
    for number in (1, 2):
        write_patient(folder / "lit" / f"patient{number:02d}", LIT_NAMES, number, up & ~darker, darker)
        save(folder / "predicted" / f"patient{number:02d}" / "new_lesions.nii.gz", up.astype(np.uint8))
        save(folder / "predicted" / f"patient{number:02d}" / "probability.nii.gz", (up & ~darker).astype(np.float32))
    for line in (
        "predicted --references lit:lit --target positive_change",
        "predicted --references lit:lit --target positive_voxels --threshold 0.5",
        "predicted --references lit --target change --thresholds 0.5:0.5:0.1",
    ):
        code, screen, error = run(f"{line} --json" if "thresholds" in line else f"{line} -m dice --json")
        assert code == 0, error
        found = json.loads(screen)
        if "thresholds" not in line:
            (dice,) = found["metrics"]
            assert (dice["mean"], dice["n"]) == (1.0, 2)
        else:
            assert found["curve"][0]["recall"] == pytest.approx(63 / 64)
    code, _, error = run("predicted/patient01/new_lesions.nii.gz --references lit:lit -m dice")
    assert (code, "no prediction for patient02" in error) == (1, True)
    code, screen, _ = run("predicted/patient01/new_lesions.nii.gz --references lit:lit -m dice --matched-only")
    assert (code, "left out: no prediction for patient02" in screen) == (0, True)
    code, _, error = run("masks --references lit:lit -m dice")
    assert (code, "masks: no prediction of patient01, patient02; name them CASE.nii.gz" in error) == (2, True)
