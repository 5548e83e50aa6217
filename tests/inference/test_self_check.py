"""Synthetic lesions of known size and contrast in a pair of visits."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lesionloss.cli import app
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.randomness import torch_generator
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.predict.plausibility import Finding
from lesionloss.inference.self_check import SelfCheckSettings, self_check, with_lesions
from lesionloss.networks import build_network
from lesionloss.networks.bundle import BundleRecord, save_bundle
from make_cohort import write_cohort


def pair(side: int = 48) -> PreparedCase:
    rng = np.random.default_rng(5)
    grid = np.indices((side,) * 3) - (side - 1) / 2
    brain = (grid**2).sum(0) < (side / 2 - 2) ** 2
    visits = rng.normal(size=(2, side, side, side)) * brain
    return PreparedCase(
        name="a",
        patient="a",
        image=np.stack([*visits, visits[1] - visits[0]]).astype(np.float32),
        channels=("baseline", "followup", "difference"),
        reference=np.zeros(brain.shape, np.uint8),
        brain=brain,
        affine=np.diag([2.0, 2.0, 2.0, 1.0]),
        offset=(0, 0, 0),
        original_shape=brain.shape,
    )


class Looking:
    """A model that marks what is brighter than in the untouched case by more than a limit."""

    def __init__(self, case: PreparedCase, limit: float) -> None:
        self.case, self.limit = case, limit
        self.seen: list[PreparedCase] = []

    def __call__(self, case: PreparedCase) -> np.ndarray:
        self.seen.append(case)
        return np.asarray(case.image[2] - self.case.image[2] > self.limit)


SETTINGS = SelfCheckSettings(volumes_mm3=(30.0, 300.0), contrasts=(0.5, 2.0), lesions=5)


def test_lesions_above_the_limit_of_a_model_are_found_and_others_are_not() -> None:
    case = pair()
    rows = self_check(case, Looking(case, 0.9), SETTINGS)
    assert [(row.volume_mm3, row.contrast, row.lesions) for row in rows] == [
        (30, 0.5, 5),
        (30, 2, 5),
        (300, 0.5, 5),
        (300, 2, 5),
    ]
    assert [row.found for row in rows if row.contrast == 0.5] == [0, 0]
    assert rows[3].found == 5


def test_lesions_have_their_volume_lie_deep_and_apart_and_change_the_followup_only() -> None:
    case = pair()
    model = Looking(case, 0.0)
    settings = SelfCheckSettings(volumes_mm3=(200.0,), contrasts=(1.0,), lesions=6, depth_mm=10.0)
    self_check(case, model, settings)
    _, changed = model.seen
    np.testing.assert_array_equal(changed.image[0], case.image[0])
    added = changed.image[1] - case.image[1]
    np.testing.assert_allclose(changed.image[2] - case.image[2], added, atol=1e-5)
    assert added.sum() * 8 == pytest.approx(6 * 200, rel=0.05)  # voxels of 8 mm³, contrast 1
    from lesionloss.core.components import label_components

    labels, count = label_components(added > 1e-3, 26)
    assert count == 6
    assert not (labels[~case.brain] > 0).any()


def test_the_same_seed_gives_the_same_lesions_and_another_seed_others() -> None:
    case = pair()
    shown = []
    for seed in (1, 1, 2):
        model = Looking(case, 0.9)
        self_check(case, model, SelfCheckSettings(volumes_mm3=(50.0,), contrasts=(1.0,), lesions=3, seed=seed))
        shown.append(model.seen[1].image)
    np.testing.assert_array_equal(shown[0], shown[1])
    assert (shown[0] != shown[2]).any()


def test_what_the_model_marks_anyway_is_left_alone() -> None:
    case = pair()
    marked = np.zeros(case.shape, bool)
    marked[:, :, 20:] = True
    boxes = []

    def model(shown: PreparedCase) -> np.ndarray:
        boxes.append(np.argwhere(shown.image[1] != case.image[1]))
        return marked

    rows = self_check(case, model, SelfCheckSettings(volumes_mm3=(50.0,), contrasts=(1.0,), lesions=3))
    assert rows[0].found == 0
    assert boxes[1][:, 2].max() < 17


def test_bad_settings_single_visits_and_small_brains_are_refused() -> None:
    with pytest.raises(UsageError, match="volumes_mm3 must be one or more numbers above 0"):
        SelfCheckSettings(volumes_mm3=(10.0, 0.0))
    with pytest.raises(UsageError, match="contrasts must be different numbers"):
        SelfCheckSettings(contrasts=(1.0, 1.0))
    with pytest.raises(UsageError, match="lesions must be 1 or more"):
        SelfCheckSettings(lesions=0)
    case = pair()
    single = PreparedCase(**{**vars(case), "image": case.image[:1], "channels": ("flair",)})
    with pytest.raises(DataError, match="two visits"):
        self_check(single, Looking(case, 1.0), SETTINGS)
    with pytest.raises(DataError, match="no room for a lesion of 300 mm³"):
        self_check(pair(16), Looking(pair(16), 1.0), SETTINGS)
    assert with_lesions(case, []).image.tolist() == case.image.tolist()


def test_the_command_writes_table_record_and_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cohort(tmp_path / "data", (0,)) / "training" / "001"
    model = tmp_path / "model"
    model.mkdir()
    text = "unet3d(filters=4, levels=2)"
    record = BundleRecord(
        network=text, channels=("baseline", "followup", "difference"), window=(8, 8, 8), threshold=0.999
    )
    save_bundle(model, build_network(text, torch_generator(1)), record)
    visits = [str(folder / f"flair_time0{number}_on_middle_space.nii.gz") for number in (1, 2)]
    command = [
        "self-check",
        str(model),
        "--baseline",
        visits[0],
        "--followup",
        visits[1],
        "--out",
        str(tmp_path / "out"),
    ]
    mask = ["--brain", str(folder / "brain_mask.nii.gz")]
    done = CliRunner().invoke(app, [*command, *mask, "--volumes", "10", "--contrasts", "2", "--lesions", "1", "--json"])
    assert done.exit_code == 0, done.output
    rows, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert [(row["volume_mm3"], row["contrast"], row["lesions"]) for row in rows] == [(10, 2, 1)]
    assert re.search(r"1 image with lesions to predict: about \d+ s", done.output)
    lines = (tmp_path / "out" / "self-check.csv").read_text().splitlines()
    assert lines[0] == "volume_mm3,contrast,lesions,found"
    assert [line.split(",")[:3] for line in lines[1:]] == [["10", "2", "1"]]
    assert (tmp_path / "out" / "self-check.png").read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(app, [*command, "--volumes", "ten"])
    assert "--volumes takes numbers between commas" in str(wrong.exception)
    monkeypatch.setattr("lesionloss.inference.self_check.self_check", lambda *_: pytest.fail("began to predict"))
    taken = tmp_path / "taken"
    taken.touch()
    assert isinstance(CliRunner().invoke(app, [*command, *mask, "--out", str(taken)]).exception, FileExistsError)
    none = Finding("correlation", 0.2, (0.8, 0.99), "another patient", refused=True)
    monkeypatch.setattr("lesionloss.inference.predict.replay_preparation.of_visits", lambda *_: (none,))
    refused = CliRunner().invoke(app, [*command, *mask, "--no-raw"]).exception
    assert isinstance(refused, DataError)
    assert "another patient" in str(refused)
