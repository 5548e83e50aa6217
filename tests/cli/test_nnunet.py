"""`lesionloss nnunet`: nnU-Net's own commands are called with our trainers, and mistakes are explained in one line."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_group

from lesionloss.cli import app
from lesionloss.integrations.nnunet.installation import EXTERNAL, VARIABLE
from lesionloss.integrations.nnunet.trainer_names import parse_trainer_name
from lesionloss.integrations.nnunet.training_plan import NnunetPlan
from nnunet_tiny import NAME, use_folders, write_preprocessed

PLAN = """
dataset = 501
configuration = "3d_fullres"
losses = ["nnunet", "hytver", "focal(gamma=2)"]
baseline_loss = "nnunet"
folds = [0, 1]
seeds = [1, 2]
epochs = 2
iterations = 1
device = "cpu"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_preprocessed(tmp_path)
    use_folders(monkeypatch, tmp_path)
    monkeypatch.setenv("nnUNet_extTrainer", "")
    return tmp_path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments with which nnU-Net's commands are called."""
    calls: list[list[str]] = []
    for entry in ("run.run_training.run_training_entry", "inference.predict_from_raw_data.predict_entry_point"):
        monkeypatch.setattr(f"nnunetv2.{entry}", lambda: calls.append(sys.argv))
    return calls


def test_train_calls_nnunet_with_the_trainer(root: Path, cli: Any, called: list[list[str]]) -> None:
    options = ["--loss", "hytver", "--seed", 1, "--epochs", 5, "--device", "cpu", "--continue", "--", "--npz"]
    assert cli("nnunet", "train", 501, "3d_fullres", 0, *options)[0] == 0
    trainer = "nnUNetTrainerLL_hytver_s1_e5"
    words = ["501", "3d_fullres", "0", "-tr", trainer, "-p", "nnUNetPlans", "-device", "cpu", "--c", "--npz"]
    assert called == [["nnUNetv2_train", *words]]
    assert os.environ.get(VARIABLE) == str(EXTERNAL)


def test_predict_calls_nnunet_with_the_trainer(root: Path, cli: Any, called: list[list[str]]) -> None:
    (root / "results" / NAME / "nnUNetTrainerLL_hytver_s1__nnUNetPlans__3d_fullres").mkdir(parents=True)
    options = ["--input", "in", "--output", "out", "--fold", 0, "--fold", 1, "--loss", "hytver", "--seed", 1]
    assert cli("nnunet", "predict", 501, "3d_fullres", *options)[0] == 0
    words = ["-i", "in", "-o", "out", "-d", "501", "-c", "3d_fullres", "-tr", "nnUNetTrainerLL_hytver_s1"]
    assert called == [["nnUNetv2_predict", *words, "-p", "nnUNetPlans", "-device", "cuda", "-f", "0", "1"]]


def test_env_prints_a_line_for_the_shell_and_the_trainer(root: Path, cli: Any) -> None:
    code, out, _ = cli("nnunet", "env", "--loss", "focal(gamma=2)", "--seed", 3)
    export, trainer = out.splitlines()
    assert (code, export) == (0, f"export nnUNet_extTrainer={EXTERNAL}")
    name = parse_trainer_name(trainer.removeprefix("# -tr "))
    assert (root / "results" / "lesionloss_losses" / f"{name.loss}.json").is_file()
    assert name.seed == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train 501 3d_fullres 0 --seed 1", "name the loss, such as --loss hytver"),
        ("train 501 3d_fullres 0 --loss hytvr", "no loss is named 'hytvr'; did you mean 'hytver'?"),
        ("train 777 3d_fullres 0 --loss hytver", f"no data set 777; known: {NAME}"),
        ("train 501 3d_fulres 0 --loss hytver", "no configuration '3d_fulres'; did you mean '3d_fullres'?"),
        ("train 501 3d_fullres x --loss hytver", "FOLD must be all or a number from 0, got 'x'"),
        ("train 501 3d_fullres 0 --loss hytver --plans Mine", "has no plans 'Mine'; known: nnUNetPlans"),
        ("predict 501 3d_fullres --loss hytver", "nnunet predict needs --input FOLDER and --output FOLDER"),
        (
            "predict 501 3d_fullres --loss hytver --seed 2 --input a --output b",
            "data set 501 has no trained nnUNetTrainerLL_hytver_s2__nnUNetPlans__3d_fullres",
        ),
        ("bench absent.toml --out x", "absent.toml: No such file or directory; give a TOML file"),
    ],
)
def test_mistakes_are_one_line(root: Path, cli: Any, called: list[list[str]], words: str, message: str) -> None:
    code, _, error = cli("nnunet", *words.split())
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert called == []
    assert not (root / "results").exists()


def test_what_is_not_there_is_named(root: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train = ("nnunet", "train", 501, "3d_fullres", 0, "--loss", "hytver")
    (root / "preprocessed" / NAME / "nnUNetPlans_3d_fullres").rename(root / "elsewhere")
    assert "nnUNetv2_preprocess -d 501 -c 3d_fullres makes it" in cli(*train)[2]
    (root / "preprocessed" / NAME / "nnUNetPlans.json").write_text("{")
    assert "nnUNetPlans.json can't be read as JSON" in cli(*train)[2]
    monkeypatch.delenv("nnUNet_results")
    assert "the environment variable nnUNet_results is not set; export nnUNet_results=FOLDER" in cli(*train)[2]


@pytest.mark.parametrize("version", ["2.7.0", "1.7.1"])
def test_an_old_nnunet_is_refused(cli: Any, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr("lesionloss.integrations.nnunet.installation.version", lambda name: version)
    code, _, error = cli("nnunet", "env")
    assert code == 2
    assert f"nnunetv2 {version} finds no trainers outside of its package; needed is 2.8 or newer: pip install" in error


def test_without_nnunet_the_extra_is_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionloss.core.extras.find_spec", lambda name: None if name == "nnunetv2" else object())
    code, _, error = cli("nnunet", "env")
    assert (code, error.strip()) == (
        2,
        'lesionloss: nnunet needs nnunetv2, which is not installed: pip install "lesionloss[nnunet]"',
    )


def write_plan(root: Path, **changes: str) -> Path:
    lines = [line for line in PLAN.strip().splitlines() if line.split(" = ")[0] not in changes]
    path = root / "plan.toml"
    path.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in changes.items() if value)]))
    return path


def test_a_dry_run_lists_the_training_runs(root: Path, cli: Any) -> None:
    code, out, _ = cli("nnunet", "bench", write_plan(root), "--dry-run")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 12)
    assert lines[0] == "open      fold 0, seed 1, nnunet  (nnUNetTrainerLL_nnunet_s1_e2_i1)"
    assert lines[5].startswith("open      fold 0, seed 2, focal(gamma=2)")
    code, out, _ = cli("nnunet", "bench", root / "plan.toml", "--dry-run", "--json")
    first = {"state": "open", "loss": "nnunet", "fold": 0, "seed": 1, "trainer": "nnUNetTrainerLL_nnunet_s1_e2_i1"}
    assert (len(json.loads(out)), json.loads(out)[0]) == (12, first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": '["nnunet"]'}, "losses: "),
        ({"losses": '["nnunet", "hytvr"]'}, "no loss is named 'hytvr'"),
        ({"losses": '["nnunet", "dice", "dice"]'}, "losses names dice twice"),
        ({"baseline_loss": '"dice"'}, "baseline_loss 'dice' is not one of losses"),
        ({"folds": "[0, 2]"}, "splits_final.json has folds 0 to 1, the plan names 2"),
        ({"seeds": "[-1]"}, "seeds.0"),
        ({"seeds": ""}, "seeds: missing"),
        ({"epoch": "3"}, "unknown key epoch; did you mean 'epochs'?"),
        (
            {"configuration": '"3d_cascade_fullres"'},
            "learns from predictions of 3d_lowres, which differ between losses",
        ),
        ({"device": '"tpu"'}, "device: "),
        ({"primary_metric": '"hd"'}, "primary_metric 'hd' is not one of metrics"),
        ({"dataset": "["}, "is not valid TOML"),
        ({"metrics": '["dice", "ece"]'}, "metrics: ece need probability maps; set probabilities = true"),
    ],
)
def test_a_wrong_plan_is_explained(root: Path, cli: Any, changes: dict[str, str], message: str) -> None:
    code, _, error = cli("nnunet", "bench", write_plan(root, **changes), "--out", root / "out")
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (root / "out").exists()


def test_a_folder_of_something_else_is_refused_before_anything_is_trained(root: Path, cli: Any) -> None:
    code, _, error = cli("nnunet", "bench", write_plan(root), "--out", root / "preprocessed")
    assert code == 2
    assert "exists and holds no collection; give a new folder" in error
    assert not (root / "results" / NAME).exists()


def program(root: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Takes the place of Python: writes its arguments to a file, then runs a script."""
    path = root / "python"
    path.write_text(f'#!/bin/sh\necho "$@" >> {root}/calls\n{script}\n')
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return root / "calls"


def test_finished_training_runs_stay_started_ones_continue_and_failed_ones_are_named(
    root: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = program(root, monkeypatch, "echo; echo first line; echo the memory is full; exit 3")
    plan = write_plan(root, losses='["nnunet", "hytver"]', seeds="[1]", folds="[0, 1]")
    folders = [
        root / "results" / NAME / f"nnUNetTrainerLL_{loss}_s1_e2_i1__nnUNetPlans__3d_fullres" / f"fold_{fold}"
        for fold in range(2)
        for loss in ("nnunet", "hytver")
    ]
    for folder in folders[:2]:
        (folder / "validation").mkdir(parents=True)
        (folder / "lesionloss_pairing.json").write_text("{}")
    (folders[0] / "validation" / "summary.json").write_text("{}")
    (folders[1] / "checkpoint_latest.pth").touch()
    code, out, error = cli("nnunet", "bench", plan, "--out", root / "out")
    assert code == 1
    assert "2 of 4: fold 0, seed 1, hytver, continued\n" in out
    assert "fold 1, seed 1, nnunet failed (exit code 3): first line | the memory is full; log: " in out
    assert (
        "3 of 4 training runs failed: fold 0, seed 1, hytver; fold 1, seed 1, nnunet; fold 1, seed 1, hytver" in error
    )
    started = [
        line.removeprefix("-m lesionloss.integrations.nnunet.one_training ") for line in calls.read_text().splitlines()
    ]
    assert started[0] == "501 3d_fullres 0 -tr nnUNetTrainerLL_hytver_s1_e2_i1 -p nnUNetPlans -device cpu --c"
    assert len(started) == 3
    assert [line.endswith("--c") for line in started] == [True, False, False]
    assert list((root / "results").rglob("*.lock")) == []
    assert not (root / "out").exists()


def test_what_another_process_trains_is_left_to_it(root: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lesionloss.core.locks import acquire_lock

    calls = program(root, monkeypatch, "exit 3")
    plan = write_plan(root, losses='["nnunet", "hytver"]', seeds="[1]", folds="[0]")
    model = "nnUNetTrainerLL_{}_s1_e2_i1__nnUNetPlans__3d_fullres"
    held = [
        acquire_lock(root / "results" / NAME / model.format(loss) / "fold_0" / "lesionloss.lock")
        for loss in ("nnunet", "hytver")
    ]
    assert all(held)
    code, _, error = cli("nnunet", "bench", plan, "--out", root / "out")
    assert code == 1
    assert "another process trains fold 0, seed 1, nnunet; fold 0, seed 1, hytver; give the same command again" in error
    assert not calls.exists()


def test_losses_of_ones_own_come_with_the_plan(root: Path, cli: Any) -> None:
    from lesionloss.losses.registry import LOSSES
    from own_losses import ROOT_TVERSKY

    (root / "mine.py").write_text(ROOT_TVERSKY)
    plan = write_plan(root, losses='["nnunet", "root_tversky"]', losses_files='["mine.py"]')
    try:
        code, out, _ = cli("nnunet", "bench", plan, "--dry-run")
    finally:
        LOSSES.remove("root_tversky")
    assert code == 0
    (kept,) = (root / "results" / "lesionloss_losses").glob("root_tversky_*.json")
    assert kept.stem in out
    assert json.loads(kept.read_text())["loss"] == "root_tversky"


def test_the_page_names_every_key_of_a_plan_and_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "nnunet.md").read_text(encoding="utf-8")
    assert [key for key in NnunetPlan.model_fields if f"`{key}`" not in page] == []
    group = get_group(app).commands["nnunet"]
    assert isinstance(group, TyperGroup)
    options = {option for command in group.commands.values() for each in command.params for option in each.opts}
    assert [option for option in sorted(options) if option.startswith("--") and option not in page] == []
