"""A training run that is killed anywhere continues to the same bits; an undamaged checkpoint always remains."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from killed_training import STEPS, bring, some_state
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import CropSettings, PreparationRecipe
from lesionloss.training import checkpoint
from lesionloss.training.checkpoint import CheckpointError, generations, restore, save
from lesionloss.training.state import State
from make_cohort import write_cohort

SCRIPT = Path(__file__).parents[1] / "support" / "killed_training.py"


def in_processes(*words: object) -> None:
    subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], check=True, timeout=3600)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    cohort = open_cohort(f"msseg2:{write_cohort(root / 'raw')}")
    prepare_cohort(cohort, root / "prepared", PreparationRecipe(crop=CropSettings(margin_voxels=2)))
    return root / "prepared"


@pytest.mark.parametrize(
    ("count", "workers"), [(1, (0, 2)), pytest.param(20, (0, 2, 4), marks=pytest.mark.slow, id="20 x 3")]
)
def test_a_killed_training_run_ends_with_the_same_bits_and_the_same_log(
    count: int, workers: tuple[int, ...], prepared: Path, tmp_path: Path
) -> None:
    in_processes("training_runs", prepared, tmp_path, count, *workers)
    whole = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert len(whole["history"]) == STEPS
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert len(records) == count * len(workers)
    assert any(record["first"] == -9 for record in records)  # on a fast machine some end before the signal
    for number in range(count):
        for threads in workers:
            assert json.loads((tmp_path / f"{threads}-{number}" / "result.json").read_text()) == whole
    print(sum(record["first"] == -9 for record in records), "of", len(records), "killed before their end")


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(count: int, tmp_path: Path) -> None:
    in_processes("checkpoints", tmp_path, count)
    torn = 0
    for number in range(count):
        folder = tmp_path / str(number)
        torn += len(list(folder.glob(".writing-*")))
        state = some_state()
        assert restore(folder, state, "key", pytest.fail)
        assert state.step >= int((folder / "done").read_text())
        assert {float(parameter.detach().unique()) for parameter in state.network.parameters()} == {float(state.step)}
        assert not list(folder.glob(".writing-*"))
    print(torn, "of", count, "were killed while they wrote")
    assert torn > 0 or count < 100  # few kills may all fall between two writes


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_leaves_the_checkpoint_before(count: int, tmp_path: Path) -> None:
    in_processes("disks", tmp_path, count)
    for number in range(count):
        folder = tmp_path / str(number)
        message = (tmp_path / f"{number}.txt").read_text()
        assert "step-00000002.safetensors can't be written" in message
        assert "make room, then continue with --resume" in message
        assert [path.name for path in folder.iterdir()] == ["step-00000001.safetensors"]
        state = some_state()
        assert restore(folder, state, "key", pytest.fail)
        assert state.step == 1


def test_no_space_left_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    state = bring(some_state(), 1)
    save(tmp_path, state, "key")
    monkeypatch.setattr(checkpoint, "save_file", no_space)
    with pytest.raises(CheckpointError, match="No space left on device; make room") as caught:
        save(tmp_path, bring(state, 2), "key")
    assert "\n" not in str(caught.value)
    assert restore(tmp_path, some_state(), "key", pytest.fail)


def flip(path: Path, where: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path: Path, where: float) -> None:
    path.write_bytes(path.read_bytes()[: int(where * path.stat().st_size)])


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("where", [0.0, 0.001, 0.02, 0.4, 0.999])
def test_a_damaged_checkpoint_is_passed_over(
    damage: Callable[[Path, float], None], where: float, tmp_path: Path
) -> None:
    state = some_state()
    for step in (1, 2, 3):
        save(tmp_path, bring(state, step), "key")
    newest, before = generations(tmp_path)
    assert [path.name for path in (newest, before)] == ["step-00000003.safetensors", "step-00000002.safetensors"]
    damage(newest, where)
    notes: list[str] = []
    found = some_state()
    assert restore(tmp_path, found, "key", notes.append)
    assert found.step == 2
    assert [step.loss for step in found.history] == [1.0, 0.5]
    assert len(notes) == 1
    assert newest.name in notes[0]
    damage(before, where)
    with pytest.raises(DataError, match="all 2 checkpoints are damaged"):
        restore(tmp_path, some_state(), "key", notes.append)


def test_an_empty_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert not restore(tmp_path / "absent", some_state(), "key", pytest.fail)


def test_checkpoints_of_another_trial_or_another_version_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, bring(some_state(), 1), "key")
    with pytest.raises(UsageError, match="belongs to another training run"):
        restore(tmp_path, some_state(), "other", pytest.fail)
    present = checkpoint.FORMAT
    monkeypatch.setattr(checkpoint, "FORMAT", 1)
    save(tmp_path / "former", bring(some_state(), 1), "key")
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"was written by lesionloss 0\.1, which this version can't continue"):
        restore(tmp_path / "former", some_state(), "key", pytest.fail)
    monkeypatch.setattr(checkpoint, "FORMAT", present + 1)
    save(tmp_path, bring(some_state(), 2), "key")
    monkeypatch.undo()
    with pytest.raises(
        UsageError, match=f"is of format {present + 1}, this version of lesionloss reads {present}; install a newer one"
    ):
        restore(tmp_path, some_state(), "key", pytest.fail)


@pytest.mark.parametrize("text", ["adam", "adamw", "sgd(momentum=0.9, nesterov=True)"])
def test_every_optimiser_comes_back_to_the_bit(text: str, tmp_path: Path) -> None:
    from lesionloss.training.optimisers import read_optimiser

    def fresh() -> State:
        state = some_state()
        state.optimiser = read_optimiser(text).over(state.network.parameters(), 0.1)
        return state

    def move(state: State, times: int) -> None:
        for _ in range(times):
            for number, parameter in enumerate(state.network.parameters()):
                values = torch.linspace(-1, 1 + number, parameter.numel()).reshape(parameter.shape)
                parameter.grad = torch.empty_like(parameter).copy_(values)
            state.optimiser.step()

    straight, first, second = fresh(), fresh(), fresh()
    move(straight, 5)
    move(first, 3)
    bring_history = bring(some_state(), 1).history
    first.history = bring_history
    save(tmp_path, first, "key")
    restore(tmp_path, second, "key", pytest.fail)
    move(second, 2)
    for ours, theirs in zip(second.network.parameters(), straight.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
