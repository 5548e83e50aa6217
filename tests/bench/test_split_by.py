"""`split_by = "case"`: the published split of CVC-ClinicDB, only where the plan says so, and said everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lesionloss.bench.plan import Plan
from lesionloss.bench.run import run
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.cli import app
from lesionloss.cli.compare_tables import print_comparison
from lesionloss.core.errors import DataError
from lesionloss.report import write_report
from lesionloss.runs.load_run import load
from lesionloss.runs.results import Results
from lesionloss.runs.run_files import read_toml
from lesionloss.statistics import compare
from miniature import mask, picture

SAID = (
    "cases of 2 patients are in training and in test at once, so scores are better than they would be for new patients"
)


class Notes(SilentWatcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def cvc(root: Path) -> Path:
    """Eight frames of two videos."""
    for number in range(1, 9):
        picture(root / "PNG" / "Original" / f"{number}.png", number)
        mask(root / "PNG" / "Ground Truth" / f"{number}.png", (number % 4, number % 3), value=250)
    rows = "".join(f"{number},{1 + number // 5}\n" for number in range(1, 9))
    (root / "metadata.csv").write_text(f"frame_id,sequence_id\n{rows}")
    return root


def small(folder: Path, **changes: Any) -> Plan:
    plan = Plan.preset("dscpp-cvc-small")
    data = plan.data.model_dump() | {"source": str(folder), "layout": "cvc-clinicdb"}
    data["prepare"]["resample"]["size"] = (16, 16)
    training = plan.training.model_dump() | {"epochs": 1, "steps": 1000, "patch": (16, 16)}
    network = {"text": "unet2d(inputs=3, outputs=2, filters=2, levels=2)", "initial": "xavier"}
    inference = {"window": (16, 16), "overlap": 0.0}
    parts = {"data": data, "training": training, "network": network, "inference": inference}
    return plan.changed({"losses": ["dice", "dice_plus_plus"], "split_by": "case", **parts, **changes})


@pytest.fixture(scope="module")
def by_case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    place, notes = tmp_path_factory.mktemp("split"), Notes()
    run(small(cvc(place / "cvc")), place / "run", watcher=notes)
    return place / "run", notes.lines


def test_frames_of_a_video_are_trained_on_and_tested(by_case: tuple[Path, list[str]]) -> None:
    results: Results = load(by_case[0])
    assert results.failed == results.missing == ()
    tests = [set(trial.record["test"]) for trial in results.trials]
    trained = [set(trial.record["train"]) for trial in results.trials]
    assert all(not test & train and len(test | train) == 8 for test, train in zip(tests, trained, strict=True))
    assert results.shared_patients == {"sequence1", "sequence2"}


def test_the_warning_is_in_output_record_comparison_and_report(
    by_case: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, notes = by_case
    assert SAID in notes
    for trial in (folder / "trials").iterdir():
        assert read_toml(trial / "trial.toml")["split_by"] == "case"
        assert SAID in (trial / "log.txt").read_text()
    results = load(folder)
    print_comparison(results, compare(results, "dice"), unpaired=False)
    assert SAID in " ".join(capsys.readouterr().out.split())
    page = Path(write_report(results, formats=())).read_text(encoding="utf-8")
    assert page.count(f"C{SAID[1:]}") == 2  # among the warnings, and in the methods
    assert "only by networks that were not trained on it" not in page
    assert "split by case into 2 folds" in page
    printed = CliRunner().invoke(app, ["compare", str(folder), "--json"]).stdout
    for record in (json.loads((folder / "report.json").read_text()), json.loads(printed)):
        assert record["patients_in_training_and_test"] == ["sequence1", "sequence2"]


def test_a_file_of_folds_by_frame_needs_the_key(tmp_path: Path) -> None:
    folder, file = cvc(tmp_path / "cvc"), tmp_path / "folds.json"
    halves = [["1", "2", "5", "6"], ["3", "4", "7", "8"]]
    file.write_text(json.dumps([{"train": halves[0], "val": halves[1]}, {"train": halves[1], "val": halves[0]}]))
    plan = small(folder, folds_file=str(file))
    with pytest.raises(DataError, match="patient 'sequence1' is trained on and tested"):
        run(plan.changed({"split_by": "patient"}), tmp_path / "refused")
    results = run(plan, tmp_path / "run")
    assert {tuple(trial.record["test"]) for trial in results.trials} == {tuple(half) for half in halves}


def test_a_plan_splits_by_patient_unless_it_says_otherwise(tmp_path: Path) -> None:
    training = Plan.preset("dscpp-cvc-small").training.model_dump() | {"epochs": 1, "steps": 1000, "patch": (16, 16)}
    training |= {"validation_share": 0.0, "patience": 0, "monitor": "dice", "schedule": "constant"}
    notes = Notes()
    plan = small(cvc(tmp_path / "cvc"), split_by="patient", training=training)
    results = run(plan, tmp_path / "run", watcher=notes)
    assert results.shared_patients == frozenset()
    assert not any("training and in test" in line for line in notes.lines)
    assert all("split_by" not in trial.record for trial in results.trials)
