"""Losses by name: what registration refuses, and files with losses of one's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import lesionloss as ll
from lesionloss.core.errors import UsageError
from lesionloss.core.user_files import load_user_file
from lesionloss.losses import registry
from lesionloss.losses.named_classes import named_class
from lesionloss.losses.registry import LOSSES, loss, make_record
from own_losses import ROOT_TVERSKY


@pytest.fixture
def own_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(ROOT_TVERSKY)
    yield path
    if "root_tversky" in LOSSES:
        LOSSES.remove("root_tversky")


def test_records_say_what_a_list_needs() -> None:
    records = {record.name: record for record in ll.list_losses()}
    assert len(records) >= 32
    assert records["tversky"].defaults == {"fp": 0.3, "fn": 0.7}
    assert records["ce_topk_dice"].defaults == {"k": 50.0}
    assert all(record.title and record.source and "\n" not in record.title for record in records.values())


def test_a_loss_of_ones_own_in_ten_lines(own_file: Path) -> None:
    loaded = load_user_file(own_file)
    assert loaded.names(LOSSES) == ("root_tversky",)
    record = registry.get("root_tversky")
    assert record.title.startswith("Root Tversky")
    assert load_user_file(own_file) is loaded  # a file is executed once
    value = ll.build("root_tversky(delta=0.6)")(torch.zeros(1, 1, 4, 4), torch.eye(4)[None])
    c_tp, c_fn, c_fp = 2.0, 2.0, 6.0
    expected = (1 - (c_tp + 1e-5) / (c_tp + 0.6 * c_fn + 0.4 * c_fp + 1e-5)) ** 0.5
    assert value.item() == pytest.approx(expected, abs=1e-6)
    made: Callable[..., ll.Loss] = named_class("RootTverskyLoss")
    assert repr(made(delta=0.6)) == "RootTverskyLoss(delta=0.6)"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "registers no loss"),
        ("def f(:", "line 1"),
        ("\nraise ValueError('no')", "line 2: ValueError: no"),
        (ROOT_TVERSKY.replace('"root_tversky"', '"dice"'), "exists already"),
        (ROOT_TVERSKY.replace(": float = 0.7", ""), "has no default"),
        (ROOT_TVERSKY + "\n1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_broken_file_is_one_clear_line_and_leaves_nothing(tmp_path: Path, content: str, words: str) -> None:
    before = LOSSES.names() if "dice" in LOSSES else [record.name for record in ll.list_losses()]
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(UsageError) as error:
        load_user_file(path)
    assert words in str(error.value)
    assert "mine.py" in str(error.value)
    assert LOSSES.names() == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*absent\.py"):
        load_user_file(tmp_path / "absent.py")


def test_a_clash_is_refused() -> None:
    with pytest.raises(UsageError, match="'dice' exists already"):

        @loss("dice", source="here")
        def again(v: ll.Voxels) -> torch.Tensor:
            """Again: a clash."""
            return v.counts().tp


def test_registration_refuses_what_could_not_be_explained() -> None:
    def silent(v):  # no docstring
        return v

    def positional(v, gamma=2.0):
        """Title: what it does."""
        return v

    def bare(v, *, gamma):
        """Title: what it does."""
        return v

    def wordy(v, *, mode="mean"):
        """Title: what it does."""
        return v

    for function, words in (
        (silent, "docstring"),
        (positional, "star"),
        (bare, "no default"),
        (wordy, "must be a number"),
    ):
        with pytest.raises(UsageError, match=words):
            make_record("new", "here", function)
    with pytest.raises(UsageError, match="no source"):
        make_record("new", " ", wordy)
    with pytest.raises(UsageError, match="small letters"):
        make_record("New Loss", "here", wordy)
