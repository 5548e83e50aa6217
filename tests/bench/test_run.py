"""A whole run on a tiny cohort: safe to stop and to start again."""

import json
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lesionloss import UsageError, loss
from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.one_trial.predictions import Prediction, write_prediction
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.run_folders import runs_of, store_plan
from lesionloss.bench.plan.sections import LOWEST_THRESHOLD
from lesionloss.bench.run import run
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.core.errors import DataError
from lesionloss.data.prepared import PreparedCase, load_prepared
from lesionloss.losses import registry
from lesionloss.metrics import Case, is_lesion, score
from lesionloss.runs.load_run import load, run_folders
from lesionloss.runs.run_records import RunTrial
from lesionloss.statistics import compare
from lesionloss.training import loop
from make_run import seal_run
from tiny_runs import METRICS, tiny_plan, trial_folders


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny_plan(data), out)
    return out


def records(out: Path) -> list[dict]:
    return [tomllib.loads((folder / "trial.toml").read_text()) for folder in trial_folders(out)]


def test_every_trial_leaves_a_whole_folder(finished: Path) -> None:
    assert len(trial_folders(finished)) == 2 * 2 + 2  # losses x folds, and the difference threshold for each fold
    for folder, record in zip(trial_folders(finished), records(finished), strict=True):
        assert folder.name == record["key"]
        names = {path.name for path in folder.iterdir()}
        expected = {"trial.toml", "machine.json", "scores.csv", "predictions", "manifest.json"}
        if record["method"] == "network":
            expected |= {"history.csv", "model.safetensors", "model.json", "log.txt"}
        assert names == expected
        assert json.loads((folder / "machine.json").read_text())["seconds"]["total"] >= 0
    assert not list((finished / "trials").glob("*.partial"))


def test_scores_are_long_with_unit_and_status(finished: Path) -> None:
    table = pd.concat(pd.read_csv(folder / "scores.csv") for folder in trial_folders(finished))
    columns = "loss dataset fold seed epoch split case lesion metric value unit patient status"
    assert " ".join(table.columns) == columns
    assert len(table) == 3 * 4 * len(METRICS)  # three methods, every patient tested once, all metrics
    assert set(table.metric) == set(METRICS)
    assert set(table[table.metric == "hd95"].unit) == {"mm"}
    without = table[table.patient.astype(str).str.contains("4")]
    assert set(without.status) <= {"ref_empty", "both_empty"}


def test_folds_are_by_patient_and_cover_everybody(finished: Path) -> None:
    for record in records(finished):
        assert not set(record["train"]) & set(record["test"])
    tested = [name for record in records(finished) if record["loss"] == "dice" for name in record["test"]]
    assert len(tested) == len(set(tested)) == 4


def test_pairs_carry_the_proof_of_their_pairing(finished: Path) -> None:
    networks = [record for record in records(finished) if record["method"] == "network"]
    for fold in (0, 1):
        pair = [record for record in networks if record["fold"] == fold]
        assert len(pair) == 2
        for field in ("pair", "weights_hash", "batches_hash"):
            assert len({record[field] for record in pair}) == 1
    assert len({record["pair"] for record in networks}) == 2


def test_a_record_that_was_tampered_with_is_no_proof_of_a_pair(finished: Path, tmp_path: Path) -> None:
    assert {d.pairing for d in compare(load(finished), "dice").differences if d.loss == "hytver"} == {"training run"}
    for field in ("pair", "weights_hash", "batches_hash"):
        other = shutil.copytree(finished, tmp_path / field)
        record = (
            next(f for f in trial_folders(other) if 'loss = "hytver"' in (f / "trial.toml").read_text()) / "trial.toml"
        )
        value = tomllib.loads(record.read_text())[field]
        record.write_text(record.read_text().replace(f'{field} = "{value}"', f'{field} = "0000{value[4:]}"'))
        with pytest.raises(DataError, match=r"trial\.toml is damaged or was edited"):
            load(other)
        seal_run(other)
        comparison = compare(load(other), "dice")
        (found,) = (d for d in comparison.differences if d.loss == "hytver")
        assert found.pairing == "patient"
        assert "do not share weights and batches in 1 of 2 training runs" in " ".join(comparison.warnings)
        record.write_text("\n".join(line for line in record.read_text().splitlines() if not line.startswith(field)))
        seal_run(other)
        (found,) = (d for d in compare(load(other), "dice").differences if d.loss == "hytver")
        assert found.pairing == "patient"


def test_training_never_sees_a_patient_of_the_test(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation, a falling learning rate and early stopping included."""
    seen: list[tuple[set[str], set[str]]] = []
    real = loop.train_together

    def spy(orders: Sequence[loop.TrialToTrain], cases: Sequence[PreparedCase], **options: Any) -> object:
        seen.extend(({case.name for case in cases}, set(order.trial.test)) for order in orders)
        return real(orders, cases, **options)

    monkeypatch.setattr("lesionloss.bench.one_trial.run_trial.train_together", spy)
    training = {
        "steps": 3,
        "batch": 2,
        "patch": [8, 8, 8],
        "jitter": 2,
        "precision": "float32",
        "validation_share": 0.5,
    }
    chosen = {"check_every": 1, "patience": 1, "schedule": "plateau(patience=1)"}
    run(tiny_plan(data, training=training | chosen), tmp_path / "run")
    assert len(seen) == 4
    for given, tested in seen:
        assert given
        assert not given & tested
    for record in (record for record in records(tmp_path / "run") if record["method"] == "network"):
        assert record["batches_hash_at"][str(record["last_step"])] == record["batches_hash"]


def test_runs_that_stopped_at_different_steps_are_pairs_up_to_the_earlier_one(tmp_path: Path) -> None:
    def trial(last: int, seen: str, **changes: object) -> RunTrial:
        marks = {str(step): f"{seen}{step}" for step in range(2, last + 1, 2)}
        record = {"pair": "p", "weights_hash": "w", "batches_hash": f"{seen}{last}", "last_step": last}
        return RunTrial("k", "dice", "network", 0, 1, tmp_path, record | {"batches_hash_at": marks} | changes)

    assert trial(6, "same").is_pair_of(trial(10, "same"))
    assert trial(10, "same").is_pair_of(trial(6, "same"))
    assert not trial(6, "same").is_pair_of(trial(10, "other"))
    assert not trial(6, "same").is_pair_of(trial(10, "same", weights_hash="v"))
    assert not trial(6, "same").is_pair_of(trial(10, "same", batches_hash_at={}))


def test_several_networks_share_the_prepared_patients(data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data, losses=("dice",)).model_dump() | {"network": {}}
    plan["networks"] = ["unet3d(filters=2, levels=2)", "unet3d(filters=3, levels=2)"]
    runs = runs_of(Plan.model_validate(plan), tmp_path / "grid")
    assert [folder.name for _, folder in runs] == [
        "msseg2--unet3d-filters-2-levels-2",
        "msseg2--unet3d-filters-3-levels-2",
    ]
    results = [run(part, folder) for part, folder in runs]
    assert all(len(found.trials) == 2 + 2 for found in results)
    first, second = (sorted((folder / "cohort").glob("*.npz")) for _, folder in runs)
    assert [path.stat().st_ino for path in first] == [path.stat().st_ino for path in second]
    assert run_folders(tmp_path / "grid") == [folder for _, folder in runs]
    with pytest.raises(UsageError, match=r"holds 2 runs; name one of them: .*msseg2--unet3d-filters-2-levels-2"):
        load(tmp_path / "grid")


def test_a_second_run_trains_nothing_and_changes_nothing(finished: Path, data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file() and "trials" in str(path)}

    class NoSteps(SilentWatcher):
        def step(self, trial: object, step: object) -> None:
            raise AssertionError("trained again")

    results = run(tiny_plan(data), finished, watcher=NoSteps())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not results.failed


def test_a_stopped_run_continues_and_ends_with_the_same_bits(finished: Path, data: Path, tmp_path: Path) -> None:
    class StopsInTheThirdTrial(SilentWatcher):
        trials = 0

        def started(self, trial: object, index: int, total: int) -> None:
            self.trials = index

        def step(self, trial: object, step: object) -> None:
            if self.trials == 3:
                raise KeyboardInterrupt

    out = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        run(tiny_plan(data), out, watcher=StopsInTheThirdTrial(), engine=InProcessEngine(together=1))
    assert len(list((out / "trials").glob("*.partial"))) == 1
    run(tiny_plan(data), out)
    assert [path.name for path in trial_folders(out)] == [path.name for path in trial_folders(finished)]
    for folder in trial_folders(finished):
        for name in ("scores.csv", "model.safetensors"):
            if (folder / name).exists():
                assert (folder / name).read_bytes() == (out / "trials" / folder.name / name).read_bytes()


def test_a_folder_with_another_plan_is_refused_and_kept(finished: Path, data: Path, tmp_path: Path) -> None:
    before = (finished / "plan.toml").read_text()
    with pytest.raises(UsageError, match=r"holds a run of another plan \(it differs in seeds\); choose another --out"):
        run(tiny_plan(data, seeds=[5]), finished)
    assert (finished / "plan.toml").read_text() == before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not a run of lesionloss"):
        store_plan(tiny_plan(data), tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "mine"


@pytest.fixture
def broken_loss() -> Iterator[str]:
    @loss("breaks", source="a test")
    def breaks(v: object) -> torch.Tensor:
        """Breaks: raises as soon as it is called."""
        raise ZeroDivisionError("planted")

    yield "breaks"
    registry.LOSSES.remove("breaks")


def test_a_failing_trial_is_kept_and_the_others_go_on(data: Path, tmp_path: Path, broken_loss: str) -> None:
    results = run(tiny_plan(data, losses=("dice", broken_loss)), tmp_path / "run")
    assert [failure.loss for failure in results.failed] == [broken_loss] * 2
    assert len(trial_folders(tmp_path / "run")) == 4
    for folder in (tmp_path / "run" / "trials").glob("*.failed"):
        assert "planted" in (folder / "failed.txt").read_text()
        assert tomllib.loads((folder / "trial.toml").read_text())["loss"] == broken_loss


def test_too_many_folds_and_no_data_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most the number of patients, 4, got 5"):
        run(tiny_plan(data, folds=5), tmp_path / "a")
    with pytest.raises(UsageError, match="needs data: say where they are with --data"):
        run(tiny_plan(data, data={}), tmp_path / "b")
    with pytest.raises(UsageError, match="no complete patient '099'"):
        run(tiny_plan(data, data={"source": str(data), "patients": ["099"]}), tmp_path / "c")


def test_probability_maps_lie_on_the_cohorts_grid(finished: Path) -> None:
    for folder in trial_folders(finished):
        for path in (folder / "predictions").iterdir():
            case = load_prepared(finished / "cohort" / path.name)
            with np.load(path) as stored:
                assert stored["probability"].dtype == np.float32
                assert stored["probability"].shape == case.shape
                assert not stored["probability"][~case.brain].any()


def test_kept_maps_give_the_masks_that_were_scored(finished: Path) -> None:
    results = load(finished)
    scores = results.scores[results.scores["metric"] == "dice"]
    assert len(scores) == 6 * 2
    for key, case, value in zip(scores["key"], scores["case"], scores["value"], strict=True):
        probability, reference = results.probability(key, case), results.case(case)["reference"] > 0
        again = Case(probability, reference, spacing_mm=(1.0, 1.0, 1.0), threshold=0.5)
        assert score(again, ["dice"])["dice"] == pytest.approx(value, abs=0, nan_ok=True)


def test_kept_maps_hold_all_digits_from_the_lowest_threshold_on(finished: Path, tmp_path: Path) -> None:
    case = load_prepared(next((finished / "cohort").glob("*.npz")))
    stream = np.random.default_rng(0)
    probability = np.where(case.brain, stream.random(case.shape) ** 4, 0).astype(np.float32)
    probability[tuple(np.argwhere(case.brain)[0])] = LOWEST_THRESHOLD
    write_prediction(tmp_path, case, Prediction(probability[None], np.zeros(case.shape, np.uint8)))
    with np.load(tmp_path / "predictions" / f"{case.name}.npz") as stored:
        kept = stored["probability"]
    assert (probability[case.brain] < LOWEST_THRESHOLD).any()
    for threshold in (LOWEST_THRESHOLD, 0.2495, 0.25, 0.5):
        assert (is_lesion(kept, threshold) == is_lesion(probability, threshold)).all()
    assert (kept[kept > 0] >= np.float32(LOWEST_THRESHOLD)).all()
