"""`lesionloss collect`, and `compare` and `report` of tables and of collected runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from others_predictions import PATTERN, Others, write_nnunet, write_others

Command = Callable[..., tuple[object, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_others(tmp_path_factory.mktemp("others"), Others(), maps=True, images=True)


def words(folder: Path, out: Path) -> list[object]:
    results = f"{folder}/results/{PATTERN}"
    return [
        "collect",
        out,
        "--predictions",
        results,
        "--references",
        folder / "labels",
        "--metrics",
        "dice,hd95",
        "--jobs",
        1,
    ]


def test_collect_compare_and_verify(cli: Command, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["--probabilities", f"{folder}/maps/{PATTERN}", "--images", folder / "images", "--baseline", "focal"]
    code, out, err = cli(*words(folder, run), *more)
    assert (code, err) == (0, "")
    assert "2 losses, 3 folds, 2 seeds; 24 predictions scored" in out
    assert "unknown: network, training settings, steps, machine, training cases, initial weights and batches" in out
    code, out, _ = cli("compare", run)
    assert code == 0
    assert "Trained elsewhere. This program did not train these networks." in out
    assert "paired by patient, not proven by training" in " ".join(out.split())
    assert "focal (baseline)" in out
    assert cli("verify", run)[0] == 0
    assert cli("power", run, "--difference", 0.1)[0] == 0


def test_strict_exits_with_one_and_writes_nothing(cli: Command, tmp_path: Path) -> None:
    data = write_others(tmp_path / "data", Others(cases=3, folds=1, seeds=(1,)))
    (data / "results" / "dice" / "fold_0" / "seed1" / "case00.nii.gz").unlink()
    code, _, err = cli(*words(data, tmp_path / "run"), "--strict")
    assert code == 1
    assert "case that one loss lacks: dice, fold 0, seed 1: no prediction of case00\n" in err
    assert not (tmp_path / "run").exists()
    code, out, _ = cli(*words(data, tmp_path / "run"))
    assert code == 0
    assert "does not fit: 1 × case that one loss lacks" in out


def test_tables_are_compared_and_reported(cli: Command, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    rows = [
        f"{loss},p{n},{n % 3},dice,{0.5 + n / 50 + more}" for loss, more in (("a", 0), ("b", 0.1)) for n in range(9)
    ]
    path.write_text("\n".join(["method,patient,fold,metric,value", *rows]) + "\n")
    code, out, _ = cli("compare", path)
    assert code == 0
    assert "These networks differ" in out
    assert "with seeds that are not known: collect predictions of two seeds or more of each" in " ".join(out.split())
    assert "They may differ in more than their losses." in out
    code, out, _ = cli("compare", path, "--json")
    assert json.loads(out)["collected"]["table"] == str(path)
    code, out, _ = cli("report", path, "--jobs", 1)
    assert code == 0
    page = (tmp_path / "scores.html").read_text(encoding="utf-8")
    assert "a table of scores that others computed" in page
    assert "9 patients, 9 cases" in page
    code, _, err = cli("compare", tmp_path, path)
    assert (code, "name one run folder, or CSV tables" in err) == (2, True)


def test_nnunet_results(cli: Command, tmp_path: Path) -> None:
    data = write_nnunet(tmp_path / "nn", Others(cases=3, seeds=(1,)))
    results = data / "nnUNet_results" / "Dataset501_MS"
    labels = data / "nnUNet_raw" / "Dataset501_MS" / "labelsTr"
    code, out, err = cli(
        "collect", tmp_path / "run", "--nnunet", results, "--references", labels, "-m", "dice", "--jobs", 1
    )
    assert (code, err) == (0, "")
    assert "unknown: network, training settings\n" in out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "give exactly one of predictions, nnunet and table"),
        (["--predictions", "x/{case}.nii.gz"], "references: give the folder"),
        (["--table", "a.csv", "--nnunet", "b"], "give exactly one of"),
        (["--predictions", "x/{case}.nii.gz", "--references", "y", "--classes", "one"], "--classes: expected whole"),
    ],
)
def test_wrong_options_are_refused(cli: Command, tmp_path: Path, given: list[str], message: str) -> None:
    code, _, err = cli("collect", tmp_path / "run", *given)
    assert (code, message in err) == (2, True), err
