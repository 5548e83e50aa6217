"""`lesionloss init`: a plan that fits the folder, with reasons, and that runs as it is written."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import miniature
from data_cohorts import REAL_LIT, save
from lesionloss.bench.data_check import check_data
from lesionloss.bench.plan import Plan
from lesionloss.bench.starting_plan import fit_hours, plan_for, plan_text
from lesionloss.core.errors import UsageError
from lesionloss.data.checking.facts import read_facts
from lesionloss.data.cohort import open_cohort
from lesionloss.networks import network_channels

Command = Callable[..., tuple[object, str, str]]
HIPPOCAMPUS = REAL_LIT.parent / "hippocampus"
SHAPE = (40, 44, 24)


def volumes(root: Path, names: list[str], lesion_mm: float, spacing: float = 1.0, channels: int = 1) -> Path:
    """Images in the form of nnU-Net, each with a cubic lesion."""
    side = round(lesion_mm / spacing)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        affine = np.diag([spacing, spacing, spacing, 1.0])
        for channel in range(channels):
            image = rng.normal(100, 10, SHAPE).astype(np.float32)
            save(root / "imagesTr" / f"{name}_{channel:04d}.nii.gz", image, affine)
        labels = np.zeros(SHAPE, np.uint8)
        labels[4 : 4 + side, 4 : 4 + side, 4 : 4 + side] = 1
        save(root / "labelsTr" / f"{name}.nii.gz", labels, affine)
    miniature.dataset_json(
        root, channel_names={str(c): f"c{c}" for c in range(channels)}, labels={"background": 0, "lesion": 1}
    )
    return root


@pytest.mark.parametrize("layout", ["bids", "nnunet", "hippocampus", "msseg2", "dsb2018", "isic2018", "csv"])
def test_the_plan_of_every_kind_of_folder_runs_as_written(layout: str, tmp_path: Path, cli: Command) -> None:
    write: Callable[[Path], Path] = miniature.WRITERS[layout]
    write(tmp_path / "data")
    out = tmp_path / "plan.toml"
    code, said, error = cli("init", tmp_path / "data", "--out", out, "--device", "cpu")
    assert code == 0, error
    assert f"lesionloss bench {out} --dry-run" in said
    plan = Plan.load(out)
    assert plan.data.layout == layout
    assert plan.losses[0] == plan.baseline_loss == "dice_ce"
    fitted = check_data(plan)
    assert len(plan.training.patch) == len(fitted.training.patch)
    assert set(network_channels(fitted.network.text)) - {0}
    text = out.read_text()
    assert text.startswith("# ")
    assert all(f"{key} = " in text for key in ("source", "patch", "steps", "folds"))
    assert text.count("\n# ") >= 8  # a reason for each decision


def test_a_dry_run_of_it_times_the_trials(tmp_path: Path, cli: Command) -> None:
    volumes(tmp_path / "data", ["a", "b", "c"], 6)
    out = tmp_path / "plan.toml"
    assert cli("init", tmp_path / "data", "--out", out, "--device", "cpu", "--hours", "50")[0] == 0
    code, said, error = cli("bench", out, "--dry-run", "--device", "cpu", "--json")
    assert code == 0, error
    found = json.loads(said)
    assert "as many as fit 50 h on this machine" in out.read_text()
    assert len(found["trials"]) == len(Plan.load(out).losses) * 3 * len(Plan.load(out).seeds)


def test_the_patch_follows_voxels_and_lesions(tmp_path: Path) -> None:
    def patch(lesion_mm: float, spacing: float) -> tuple[int, ...]:
        root = volumes(tmp_path / f"{lesion_mm}-{spacing}", ["a", "b"], lesion_mm, spacing)
        return plan_for(read_facts(open_cohort(root)), "cpu").patch

    assert patch(4, 1.0) == (32, 32, 24)  # 5 mm across and 24 around; no more than the image has
    assert patch(12, 1.0) == (40, 40, 24)
    assert patch(4, 2.0) == (16, 16, 16)


def test_what_was_seen_decides_the_preparation(tmp_path: Path) -> None:
    root = volumes(tmp_path / "data", ["a", "b"], 5, channels=2)
    volumes(root, ["c"], 5, 2.0, channels=2)
    facts = read_facts(open_cohort(root))
    plan = plan_for(facts, "cuda:0")
    assert (facts.patients, facts.contrasts, facts.axes) == (3, 2, 3)
    assert plan.recipe.steps == ("orient", "brain", "resample", "normalise")
    assert plan.recipe.resample.spacing_mm == (1.0, 1.0, 1.0)
    assert plan.recipe.brain.source == "whole"
    record = tomllib.loads(plan_text(plan, "x", str(root)))
    assert record["network"]["text"] == "unet3d(filters=32)"
    assert record["folds"] == 3
    two_visits = plan_for(read_facts(open_cohort(miniature.WRITERS["msseg2"](tmp_path / "ms"))), "cpu")
    assert two_visits.recipe.steps[-1] == "subtract"
    assert "brain" in two_visits.recipe.steps


def test_hours_choose_the_steps_and_then_fewer_seeds_and_losses(tmp_path: Path) -> None:
    plan = plan_for(read_facts(open_cohort(volumes(tmp_path / "data", ["a", "b"], 5))), "cpu")

    def seconds(each: object) -> float:
        return 0.01 * plan.steps * len(plan.losses) * len(plan.seeds)

    assert fit_hours(plan, 1.0, seconds).steps == 27_000
    assert (fit_hours(plan, 0.003, seconds).seeds, fit_hours(plan, 0.003, seconds).steps) == ((1,), 160)
    shortest = fit_hours(plan, 0.001, seconds)
    assert (shortest.losses, shortest.steps) == (plan.losses[:2], 100)
    with pytest.raises(UsageError, match=r"--hours 0.0001: two losses, one seed and 100 steps need about 0.00093 h"):
        fit_hours(plan, 0.0001, seconds)
    assert fit_hours(plan, 1e9, seconds).steps == 50_000


def test_names_from_files_stay_in_their_comments(tmp_path: Path) -> None:
    root = volumes(tmp_path / "data", ["a", "b"], 5)
    miniature.dataset_json(root, channel_names={"0": "x"}, labels={"background": 0, 'a"\nname = "b': 1})
    text = plan_text(plan_for(read_facts(open_cohort(root)), "cpu"), 'n"\nx', 'C:\\data "x"')
    record = tomllib.loads(text)
    assert (record["name"], record["data"]["source"]) == ('n"\nx', 'C:\\data "x"')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "plan.txt"), "a plan is a file that ends in .toml"),
        (("--hours", "0"), "--hours must be a number above 0"),
        (("--target", "nothing"), "no target named 'nothing'"),
    ],
)
def test_wrong_options_write_nothing(
    words: tuple[str, ...], message: str, tmp_path: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    volumes(tmp_path / "data", ["a", "b"], 5)
    code, _, error = cli("init", "data", *words)
    assert code == 2
    assert message in error
    assert not list(tmp_path.glob("*.toml"))


def test_a_plan_that_exists_and_a_single_patient_are_refused(tmp_path: Path, cli: Command) -> None:
    out = tmp_path / "plan.toml"
    out.write_text("mine")
    volumes(tmp_path / "data", ["a"], 5)
    code, _, error = cli("init", tmp_path / "data", "--out", out)
    assert (code, out.read_text()) == (2, "mine")
    assert "exists; choose another --out, or --force" in error
    code, _, error = cli("init", tmp_path / "data", "--out", out, "--force")
    assert (code, out.read_text()) == (2, "mine")
    assert "one patient only" in error


@pytest.mark.slow
@pytest.mark.parametrize("source", [REAL_LIT, HIPPOCAMPUS], ids=["lit", "hippocampus"])
def test_the_plans_of_real_sets_run_as_written(source: Path, tmp_path: Path, cli: Command) -> None:
    if not source.is_dir():
        pytest.skip(f"{source} is not beside the project")
    out = tmp_path / "plan.toml"
    code, _, error = cli("init", source, "--out", out, "--device", "cpu", "--hours", "2")
    assert code == 0, error
    code, said, error = cli("bench", out, "--dry-run", "--device", "cpu", "--json")
    assert code == 0, error
    assert json.loads(said)["seconds"] < 2 * 3600
