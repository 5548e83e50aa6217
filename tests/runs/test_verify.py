"""Whether a run is as it was written: every changed bit is noticed, and `lesionloss verify` names the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesionloss.core.errors import DataError
from lesionloss.networks.bundle import read_record
from lesionloss.runs.load_run import load
from lesionloss.runs.trial_manifest import MANIFEST
from lesionloss.runs.verify import verify_run
from make_run import seal_run
from tiny_runs import network_folder, trial_folders

Change = Callable[[Path], object]


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "own")


def found(out: Path) -> dict[str, str]:
    return {finding.file: finding.state for each in verify_run(out) for finding in each.findings}


def read_all(out: Path) -> None:
    """What `compare`, `report` and `predict` read of a run."""
    results = load(out)
    assert len(results.scores)
    for trial in results.trials:
        results.machine(trial.key)
        for case in trial.record["test"]:
            results.probability(trial.key, case)
        if (trial.folder / "model.json").is_file():
            read_record(trial.folder)


def test_a_finished_run_is_whole(finished: Path) -> None:
    (each,) = verify_run(finished)
    assert (each.trials, each.cases, each.findings) == (6, 4, ())
    read_all(finished)
    for folder in trial_folders(finished):
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert set(json.loads((folder / MANIFEST).read_text())["files"]) == files - {MANIFEST}


NOTICED = (
    *("trial.toml", "scores.csv", "model.json", "machine.json", "manifest.json", "predictions"),
    *("plan.toml", "history.csv", "log.txt", "model.safetensors"),
)
UNREAD = ("history.csv", "log.txt", "model.safetensors")  # by `read_all`


@pytest.mark.parametrize("name", NOTICED)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(finished: Path, name: str, place: float, bit: int) -> None:
    folder = finished if name == "plan.toml" else network_folder(finished)
    path = next((folder / name).glob("*.npz")) if name == "predictions" else folder / name
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    try:
        path.write_bytes(damaged)
        assert list(found(finished)) == [path.relative_to(finished).as_posix()]
        if name not in UNREAD:
            with pytest.raises(DataError) as caught:
                read_all(finished)
            assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(whole)


def _cut_at_a_line(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))


@pytest.mark.parametrize(
    ("name", "change", "state"),
    [
        ("scores.csv", _cut_at_a_line, "changed"),
        ("scores.csv", lambda path: path.write_bytes(b"\xff"), "damaged"),
        ("scores.csv", Path.unlink, "absent"),
        ("manifest.json", Path.unlink, "absent"),
        ("trial.toml", lambda path: path.write_text("="), "damaged"),
        ("predictions/extra.npz", Path.touch, "unknown"),
    ],
)
def test_what_changed_is_named(own: Path, name: str, change: Change, state: str) -> None:
    change(network_folder(own) / name)
    assert found(own) == {f"trials/{network_folder(own).name}/{name}": state}
    if state != "unknown":
        with pytest.raises(DataError):
            read_all(own)


def test_plan_and_cohort_are_bound_to_the_trials(own: Path) -> None:
    index = own / "cohort" / "index.json"
    before = index.read_text()
    record = json.loads(before)
    record["cases"][0]["reference_mm3"] += 1
    index.write_text(json.dumps(record))
    assert found(own) == {"cohort/index.json": "changed"}
    with pytest.raises(DataError, match=r"index\.json is not what trial .* was made with"):
        load(own)
    record = json.loads(before)
    for case in record["cases"]:
        case["sha256"] = {f"elsewhere/{name}": digest for name, digest in case["sha256"].items()}
    index.write_text(json.dumps(record | {"incomplete": []}))  # the data were moved: the cases are the same
    assert found(own) == {}
    plan = own / "plan.toml"
    plan.write_text(plan.read_text().replace("folds = 2", "folds = 3"))
    assert found(own) == {"plan.toml": "changed"}
    with pytest.raises(DataError, match=r"plan\.toml is not what trial .* was made with"):
        load(own)


def test_a_prepared_case_is_compared_with_the_index(own: Path) -> None:
    first, second, *_ = sorted((own / "cohort").glob("*.npz"))
    shutil.copy(first, second)
    assert found(own)[f"cohort/{second.name}"] == "changed"
    second.unlink()
    assert found(own)[f"cohort/{second.name}"] == "absent"


def test_scores_without_a_test_case_are_incomplete(own: Path) -> None:
    """Also where the manifest agrees: no mean is taken over fewer patients than the fold has."""
    path = network_folder(own) / "scores.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    seal_run(own)
    assert found(own) == {f"trials/{path.parent.name}/scores.csv": "damaged"}
    with pytest.raises(DataError, match=r"no row of test case .* for lesion_f1: it is incomplete"):
        _ = load(own).scores


def test_a_renamed_trial_is_another_trial(own: Path) -> None:
    folder = network_folder(own)
    folder.rename(folder.with_name("0" * 16))
    assert "changed" in found(own).values()
    with pytest.raises(DataError, match="holds the trial"):
        load(own)
