"""A run with a loss of another library and a network of the user's: in lock-step, in other processes, and predicted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from example_trials import TRIAL
from lesionloss import UsageError
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.plan_model import with_used_files
from lesionloss.bench.run import run
from lesionloss.cli import app
from lesionloss.core.files import sha256_of
from lesionloss.core.user_files import load_user_file
from lesionloss.losses.registry import LOSSES
from lesionloss.networks import NETWORKS, code_digest
from lesionloss.runs.run_files import read_toml
from lesionloss.training.trial import flat_record
from tiny_runs import network_folder, tiny_plan, trial_folders

CODE = '''
import torch
from torch import nn
import lesionloss as ll
from monai.losses import DiceCELoss

ll.from_module(DiceCELoss(softmax=True, to_onehot_y=True), ll.TargetForm.CLASS_CHANNEL)


@ll.network("two_layers", source="a test")
class TwoLayers(nn.Module):
    """Two convolutions."""

    def __init__(self, in_channels, classes, features=4, dropout=0.0):
        super().__init__()
        self.first = nn.Conv3d(in_channels, features, 3, padding=1)
        self.dropped = nn.Dropout3d(dropout)
        self.last = nn.Conv3d(features, classes, 1)

    def forward(self, x):
        return self.last(self.dropped(torch.relu(self.first(x))))
'''
TEXT = "two_layers(features=3, dropout=0.2)"


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    load_user_file(path)
    yield path
    for catalogue, name in ((LOSSES, "monai_dice_ce"), (NETWORKS, "two_layers")):
        if name in catalogue:
            catalogue.remove(name)


def test_losses_of_others_are_compared_on_a_network_of_ones_own(code: Path, data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data, ("monai_dice_ce", "dice"), network={"text": TEXT})
    assert with_used_files(plan).losses_files == (str(code.resolve()),)
    out = tmp_path / "run"
    results = run(plan, out)
    assert not results.failed
    records = [read_toml(folder / "trial.toml") for folder in trial_folders(out)]
    networks = [record for record in records if record["method"] == "network"]
    assert {record["network_sha256"] for record in networks} == {sha256_of(code)}
    assert {record["network"] for record in networks} == {TEXT}
    assert {record["loss"]: bool(record.get("loss_sha256")) for record in networks} == {
        "monai_dice_ce": True,
        "dice": False,
    }
    by_pair: dict[str, set[str]] = {}
    for folder in trial_folders(out):
        if (folder / "history.csv").exists():
            trial = read_toml(folder / "trial.toml")
            by_pair.setdefault(trial["pair"], set()).add(trial["weights_hash"])
    assert len(by_pair) == 2
    assert all(len(hashes) == 1 for hashes in by_pair.values())
    predicted = CliRunner().invoke(
        app,
        ["predict", str(network_folder(out)), "--cohort", str(out / "cohort"), "--out", str(tmp_path / "predicted")],
    )
    assert predicted.exit_code == 0, predicted.output
    NETWORKS.remove("two_layers")
    stranger = CliRunner().invoke(
        app, ["predict", str(network_folder(out)), "--cohort", str(out / "cohort"), "--out", str(tmp_path / "again")]
    )
    assert "no network is named 'two_layers'; if it is one of your own, name its file: --with FILE.py" in str(
        stranger.exception
    )


@pytest.mark.slow
def test_other_processes_find_both(code: Path, data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data, ("monai_dice_ce", "dice"), network={"text": TEXT})
    assert not run(plan, tmp_path / "apart", engine=LocalEngine(jobs=1)).failed
    alone = run(tiny_plan(data, ("monai_dice_ce", "dice"), network={"text": TEXT}), tmp_path / "here")
    here, apart = (
        pd.concat(pd.read_csv(folder / "scores.csv") for folder in trial_folders(tmp_path / name))
        for name in ("here", "apart")
    )
    assert not alone.failed
    pd.testing.assert_frame_equal(here.reset_index(drop=True), apart.reset_index(drop=True))


def test_a_changed_network_makes_other_trials_and_pairs(code: Path) -> None:
    before = code_digest(TEXT)
    code.write_text(CODE.replace("torch.relu", "torch.tanh"))
    LOSSES.remove("monai_dice_ce")
    NETWORKS.remove("two_layers")
    load_user_file(code)
    assert code_digest(TEXT) == sha256_of(code)
    assert code_digest(TEXT) != before
    first, changed = (replace(TRIAL, network=TEXT, network_sha256=digest) for digest in (before, code_digest(TEXT)))
    assert (first.key != changed.key, first.pair != changed.pair) == (True, True)
    assert (TRIAL.key, TRIAL.pair) == ("dd0f42b56e0ee2a4", "7f0c6ed9774948c4")  # as before the field
    assert "network_sha256" not in flat_record(TRIAL)


def test_a_network_of_this_process_only_is_refused_by_other_processes(tmp_path: Path, data: Path) -> None:
    import torch

    import lesionloss as ll

    @ll.network("here_only", source="a test")
    class HereOnly(torch.nn.Module):
        """Here only."""

        def __init__(self, inputs: int = 3, outputs: int = 1) -> None:
            super().__init__()
            self.last = torch.nn.Conv3d(inputs, outputs, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x)

    try:
        plan = tiny_plan(data, ("dice",), network={"text": "here_only"})
        with pytest.raises(UsageError, match=r"network 'here_only' was defined in .*, which other processes can't see"):
            run(plan, tmp_path / "run", engine=LocalEngine(jobs=1))
    finally:
        NETWORKS.remove("here_only")


def test_plans_keep_their_initial_weights_rules(code: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="initial: such a network starts as its class does"):
        tiny_plan(data, ("dice",)).changed({"network": {"text": TEXT, "initial": "xavier"}})
    assert isinstance(tiny_plan(data, ("dice",), network={"text": TEXT, "initial": "torch"}), Plan)
