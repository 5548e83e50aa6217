"""Pretraining on synthetic patients: a text of the plan, one start for all losses of a seed, kept and recorded."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionloss import UsageError
from lesionloss.bench.plan import Plan
from lesionloss.bench.recipes import recipe_of
from lesionloss.bench.run import run
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.core.errors import DataError
from lesionloss.data.visible_lesions import outlined, visible_only
from lesionloss.training.loop import start_network, weights_hash
from lesionloss.training.pretraining import check_pretraining, pretraining_trial, read_pretraining, start_of
from lesionloss.training.trial import Trial
from patch_cases import case_of

TEXT = "synth(patients=2, spacing_mm=3.0, steps=2)"


def plan(data: Path, **training: object) -> Plan:
    return Plan.model_validate(
        {
            "name": "tiny",
            "losses": ["dice", "hytver"],
            "baseline_loss": "dice",
            "metrics": ["dice"],
            "folds": 2,
            "seeds": [1],
            "data": {"source": str(data), "layout": "msseg2", "margin_voxels": 2},
            "network": {"text": "unet3d(filters=2, levels=2)"},
            "training": {"steps": 2, "batch": 2, "patch": [8, 8, 8], "jitter": 2, "precision": "float32"} | training,
        }
    )


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(plan(data, pretrain=TEXT), out)
    return out


def networks(out: Path) -> list[dict[str, str]]:
    records = [tomllib.loads(file.read_text()) for file in sorted((out / "trials").glob("*/trial.toml"))]
    return [record for record in records if record["method"] == "network"]


def a_trial(data: Path, **changes: object) -> Trial:
    recipe = recipe_of(plan(data, **{"pretrain": TEXT} | changes), "cpu")
    return Trial(
        loss="dice", dataset="d", target="t", network="unet3d(filters=2, levels=2)", fold=0, seed=1,
        train=("a",), test=("b",), recipe=recipe,
    )  # fmt: skip


def test_a_text_says_what_the_pretraining_is() -> None:
    settings = read_pretraining("synth(patients=7, steps=30, seed=5, loss='cross_entropy')")
    assert (settings.patients, settings.steps, settings.seed, settings.loss) == (7, 30, 5, "cross_entropy")
    assert check_pretraining("synth:patients=7,steps=400") == "synth(patients=7)"  # 400 steps are the default
    assert check_pretraining("synth") == "synth"
    assert check_pretraining("") == ""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("synht(patients=3)", "synth"),
        ("synth(patient=3)", "patients"),
        ("synth(steps=0)", "steps"),
        ("synth(patients='many')", "patients"),
        ("synth(loss='diice')", "dice"),
        ("synth(profile='litt')", "lit"),
        ("synth(truth='old')", "positive"),
        ("synth(patients=print(1))", "plain"),
    ],
)
def test_what_is_wrong_in_a_text_is_named(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        check_pretraining(text)


def test_a_plan_refuses_two_starts(data: Path) -> None:
    with pytest.raises(UsageError, match="leave one out"):
        plan(data, pretrain=TEXT).changed({"network": {"text": "unet3d", "start_from": "a.pth"}})


def test_all_losses_and_folds_of_a_seed_begin_with_the_same_pretrained_weights(finished: Path) -> None:
    found = networks(finished)
    assert len(found) == 4
    starts = list((finished / "pretrained").glob("*/trial.toml"))
    assert len(starts) == 1
    assert {record["loss"] for record in found} == {"dice", "hytver"}
    assert len({record["weights_hash"] for record in found}) == 1
    assert {record["pretrain"] for record in found} == {"synth(patients=2, spacing_mm=3.0, steps=2, loss='dice')"}


def test_the_start_is_what_pretraining_left(finished: Path, data: Path) -> None:
    start = tomllib.loads(next((finished / "pretrained").glob("*/trial.toml")).read_text())
    folder = finished / "pretrained" / start["key"]
    assert {file.name for file in folder.iterdir()} == {
        *("trial.toml", "history.csv", "machine.json", "model.safetensors", "model.json", "manifest.json")
    }
    network = start_network(a_trial(data), folder / "model.safetensors")
    assert weights_hash(network) == networks(finished)[0]["weights_hash"]
    assert weights_hash(network) != start["weights_hash"]  # it moved
    assert start["loss"] == "dice"
    machine = json.loads((folder / "machine.json").read_text())
    assert (machine["arithmetic"]["step"], machine["cohort_on_device"]) == ("eager", "no")
    assert not list((finished / "checkpoints").glob("*/*"))


def test_a_finished_start_is_not_trained_again(finished: Path, data: Path) -> None:
    file = next((finished / "pretrained").glob("*/model.safetensors"))
    before = file.stat().st_mtime_ns
    run(plan(data, pretrain=TEXT), finished)
    assert file.stat().st_mtime_ns == before


def test_pretraining_belongs_to_key_and_pair_and_no_pretraining_changes_neither(data: Path) -> None:
    trial = a_trial(data)
    without = replace(trial, recipe=replace(trial.recipe, pretrain=""))
    more = replace(
        trial, recipe=replace(trial.recipe, pretrain="synth(patients=3, spacing_mm=3.0, steps=2, loss='dice')")
    )
    assert len({trial.pair, without.pair, more.pair}) == 3
    assert len({pretraining_trial(trial).key, pretraining_trial(more).key}) == 2
    other_loss = replace(trial, loss="hytver", fold=1, train=("b",), test=("a",))
    assert pretraining_trial(trial).key == pretraining_trial(other_loss).key
    assert pretraining_trial(trial).key != pretraining_trial(replace(trial, seed=2)).key


def test_training_without_the_weights_it_asks_for_is_refused(data: Path, tmp_path: Path) -> None:
    trial = a_trial(data)
    with pytest.raises(UsageError, match="pretrained weights"):
        start_network(trial)
    with pytest.raises(UsageError, match="run the plan again"):
        start_of(trial, tmp_path / "trials" / "k")
    assert start_of(replace(trial, recipe=replace(trial.recipe, pretrain="")), tmp_path) is None


def test_cases_with_other_channels_are_refused(finished: Path, data: Path, tmp_path: Path) -> None:
    from lesionloss.bench import pretrained_starts
    from lesionloss.bench.make_cohort import load_run_cohort

    cohort = load_run_cohort(plan(data), tmp_path / "other", SilentWatcher())
    single = replace(cohort, cases=tuple(replace(case, channels=("a", "b", "c")) for case in cohort.cases))
    shorter = plan(data, pretrain="synth(patients=2, spacing_mm=3.0, steps=1)")
    trial = a_trial(data, pretrain="synth(patients=2, spacing_mm=3.0, steps=1)")
    with pytest.raises(UsageError, match="have the channels"):
        pretrained_starts.prepare_pretraining(shorter, (trial,), single, finished, SilentWatcher())


def test_changes_that_nobody_sees_are_no_lesions() -> None:
    reference = np.zeros((16, 12, 6), np.uint8)
    difference = np.zeros(reference.shape, np.float32)
    for x, rise in ((2, 0.2), (6, 0.9), (10, -0.9)):
        reference[x : x + 2, 4:6, 2:4] = 1
        difference[x : x + 2, 4:6, 2:4] = rise
    reference[14, 10, 4], difference[14, 10, 4] = 1, 5.0  # bright, but a single voxel
    image = np.stack([np.zeros_like(difference), difference, difference])
    case = case_of("a", image, reference, np.ones(reference.shape, bool))
    seen = visible_only(case, 0.4)
    assert sorted({int(x) for x in np.argwhere(seen.reference)[:, 0]}) == [6, 7, 10, 11]
    assert seen.image is case.image
    with pytest.raises(DataError, match="no difference"):
        visible_only(replace(case, channels=("a", "b", "c")), 0.4)


def test_an_outline_reaches_as_far_as_the_share_of_the_highest_signal() -> None:
    reference = np.zeros((16, 12, 6), np.uint8)
    reference[4:6, 5:7, 3] = 1
    rise = np.zeros(reference.shape, np.float32)
    rise[4:6, 5:7, 3], rise[6, 5:7, 3], rise[7, 5:7, 3], rise[12, 5, 3] = 1.0, 0.45, 0.2, 0.9
    rise[3, 5, 3] = 0.6
    brain = np.ones(reference.shape, bool)
    brain[3] = False
    case = case_of("a", np.stack([rise, rise, rise]), reference, brain)
    added = {share: outlined(case, rise, share).lesion & ~case.lesion for share in (0.5, 0.4, 0.1)}
    assert not added[0.5].any()  # the voxel at x = 3 lies outside the brain, that at x = 12 far from the lesion
    assert sorted(map(tuple, np.argwhere(added[0.4]).tolist())) == [(6, 5, 3), (6, 6, 3)]
    assert int(added[0.1].sum()) == 4
    empty = replace(case, reference=np.zeros_like(reference))
    assert outlined(empty, rise, 0.4) is empty
