"""Curves show a training run and change nothing of it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.one_trial import curves, predictions
from lesionloss.bench.plan import Plan
from lesionloss.bench.run import run
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.data.batches.stream import make_batch
from lesionloss.report.history import epoch_bands
from lesionloss.runs.load_run import load
from lesionloss.runs.scores import LAST_EPOCH
from lesionloss.statistics import compare
from lesionloss.training import checkpoint
from make_cohort import write_cohort
from make_run import seal_run
from tiny_runs import tiny_plan, trial_folders

CURVES = {"every_epochs": 1, "metrics": ["dice", "recall"], "patches": 3}
TRAINING = {
    "epochs": 4,
    "batch": 2,
    "patch": [8, 8, 8],
    "jitter": 2,
    "precision": "float32",
    "validation_share": 0.4,
    "check_every": 0,
    "schedule": "plateau(patience=1)",
}


def curved_plan(data: Path, **changes: object) -> Plan:
    record: dict[str, Any] = {"training": TRAINING, "folds_file": str(data / "val.list"), "folds": 1, "curves": CURVES}
    return tiny_plan(data, **record | changes)


@pytest.fixture(scope="module")
def data_with_fold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_cohort(tmp_path_factory.mktemp("data"), (2, 1, 2, 1))
    (folder / "val.list").write_text("004\n")
    return folder


@pytest.fixture(scope="module")
def curved(data_with_fold: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curved") / "run"
    run(curved_plan(data_with_fold), out)
    return out


def networks(out: Path) -> list[Path]:
    return [folder for folder in trial_folders(out) if (folder / "model.safetensors").exists()]


def test_every_epoch_has_scores_of_patches_training_images_and_test_images(curved: Path) -> None:
    for folder in networks(curved):
        table = pd.read_csv(folder / "scores.csv", dtype=str)
        during = table[table["epoch"] != "last"]
        assert set(during["epoch"]) == {"1", "2", "3", "4"}
        assert set(during["metric"]) == {"dice", "recall"}
        counted = during[during["metric"] == "dice"].groupby(["epoch", "split"])["case"].nunique().unstack()
        # of three training patients one is for validation; two patches an epoch
        assert (counted["train_images"] == 2).all()
        assert (counted["test"] == 1).all()
        assert (counted["train_patches"] == 2).all()
        assert set(during[during["split"] == "test"]["case"]) == {"004"}
        assert not set(during[during["split"] != "test"]["patient"]) & {"004"}
        last = table[table["epoch"] == "last"]
        assert set(last["split"]) == {"test"}
        assert set(last["metric"]) == {"dice", "recall", "hd95", "lesion_f1"}


def test_observing_changes_no_bit_of_a_training_run(curved: Path, data_with_fold: Path, tmp_path: Path) -> None:
    run(curved_plan(data_with_fold, curves={}), tmp_path / "plain")
    assert [path.name for path in networks(curved)] == [path.name for path in networks(tmp_path / "plain")]
    for folder in networks(curved):
        plain = tmp_path / "plain" / "trials" / folder.name
        assert (folder / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
        assert (folder / "trial.toml").read_bytes() == (plain / "trial.toml").read_bytes()
        with_curves, without = (pd.read_csv(path / "scores.csv", dtype=str) for path in (folder, plain))
        pd.testing.assert_frame_equal(with_curves[with_curves["epoch"] == "last"].reset_index(drop=True), without)


def test_patches_are_made_once_for_all_losses_of_a_pair(
    curved: Path, data_with_fold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(cases: Any, draws: Any, steps: Any, stream: Any, step: int, batch: int) -> Any:
        made.append(step)
        return make_batch(cases, draws, steps, stream, step, batch)

    monkeypatch.setattr(predictions, "make_batch", counted)
    plan = curved_plan(data_with_fold)
    run(plan, tmp_path / "together")
    assert made == [1, 2, 3, 4]  # two losses, a step an epoch
    run(plan, tmp_path / "alone", engine=InProcessEngine(together=1))
    assert made[4:] == [1, 2, 3, 4] * 2
    monkeypatch.setattr(curves, "KEPT_BYTES", 1)
    run(plan, tmp_path / "short", engine=InProcessEngine())
    assert sorted(made[12:]) == [1, 1, 2, 2, 3, 3, 4, 4]
    for folder in networks(curved):
        for name in ("together", "alone", "short"):
            again = tmp_path / name / "trials" / folder.name
            assert (folder / "scores.csv").read_bytes() == (again / "scores.csv").read_bytes()


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_stopped_training_run_has_the_same_curves(
    stop: int, curved: Path, data_with_fold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint.Checkpoints, "due", lambda self, step: True)

    class Stops(SilentWatcher):
        def step(self, trial: object, step: object) -> None:
            if getattr(step, "step", 0) == stop:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(curved_plan(data_with_fold), tmp_path / "run", watcher=Stops())
    assert stop == 1 or list((tmp_path / "run" / "checkpoints").glob("*/step-*"))
    run(curved_plan(data_with_fold), tmp_path / "run")
    for folder in networks(curved):
        again = tmp_path / "run" / "trials" / folder.name
        assert (folder / "scores.csv").read_bytes() == (again / "scores.csv").read_bytes()
        assert (folder / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_only_the_chosen_weights_are_compared_and_the_curves_become_bands(curved: Path, tmp_path: Path) -> None:
    results = load(curved)
    bands = epoch_bands(results)
    assert {(band.loss, band.split) for band in bands if band.metric == "dice"} == {
        (loss, split) for loss in ("dice", "hytver") for split in ("train_patches", "train_images", "test")
    }
    assert all(band.place == (1.0, 2.0, 3.0, 4.0) for band in bands)
    # other curves, same comparison
    other = shutil.copytree(curved, tmp_path / "run")
    for folder in networks(other):
        table = pd.read_csv(folder / "scores.csv", dtype=str, keep_default_na=False)
        table.loc[(table["epoch"] != "last") & (table["value"] != ""), "value"] = "0.987"
        table.to_csv(folder / "scores.csv", index=False)
    seal_run(other)
    assert compare(load(other), "dice") == compare(results, "dice")
    scores = results.scores
    assert np.isfinite(scores[scores["epoch"] < LAST_EPOCH]["value"]).any()
