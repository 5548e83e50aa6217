"""A loss of any text has a key for the name of its trainer, and is found again by it."""

import json
from pathlib import Path

import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.user_files import load_user_file
from lesionloss.integrations.nnunet.stored_losses import FOLDER, loss_text, store_loss, stored_loss
from lesionloss.losses.registry import LOSSES
from own_losses import ROOT_TVERSKY


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where losses are kept."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    return tmp_path / FOLDER


def test_a_plain_loss_is_its_own_key_and_needs_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results", raising=False)
    for loss in ("hytver", "nnunet"):
        assert store_loss(loss) == loss
        assert stored_loss(loss) == loss


def test_a_text_gets_words_and_a_digest(kept: Path) -> None:
    key = store_loss("0.5*dice+0.5*focal(gamma=2)")
    assert key.startswith("0_5_dice_0_5_focal_gamma_2")
    assert key.replace("_", "").isalnum()
    assert "__" not in key
    assert stored_loss(key) == "0.5*dice + 0.5*focal(gamma=2)"
    assert store_loss("0.5*dice + 0.5*focal(gamma=2)") == key
    assert store_loss("focal(gamma=3)") != store_loss("focal(gamma=2)")
    assert [path.suffix for path in kept.iterdir()] == [".json"] * 3


def test_a_loss_of_ones_own_brings_its_file(kept: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(ROOT_TVERSKY)
    load_user_file(file)
    try:
        key = store_loss("root_tversky(delta=0.6)")
        plain = store_loss("root_tversky")
    finally:
        LOSSES.remove("root_tversky")
    file.unlink()
    assert plain.startswith("root_tversky_")
    try:
        assert stored_loss(key) == "root_tversky(delta=0.6)"
        assert "root_tversky" in LOSSES
    finally:
        LOSSES.remove("root_tversky")


def test_an_unknown_key_is_explained(kept: Path) -> None:
    key = store_loss("focal(gamma=2)")
    with pytest.raises(UsageError, match="no loss has the key 'hytvr'; did you mean 'hytver'"):
        stored_loss("hytvr")
    with pytest.raises(UsageError, match=f"did you mean '{key}'"):
        stored_loss(key[:-1])
    with pytest.raises(UsageError, match="no loss is named 'hytvr'"):
        store_loss("hytvr")


@pytest.mark.parametrize("change", ["", "[]", '{"format": 1, "loss": 3, "files": []}', "../x.py", "format"])
def test_a_damaged_file_is_named(kept: Path, change: str) -> None:
    path = kept / f"{store_loss('focal(gamma=2)')}.json"
    record = json.loads(path.read_text())
    texts = {"../x.py": {**record, "files": ["../x.py"]}, "format": {**record, "format": 2}}
    path.write_text(json.dumps(texts[change]) if change in texts else change)
    with pytest.raises(DataError, match=rf"{path.name}: expected what `lesionloss nnunet` writes"):
        stored_loss(path.stem)


def test_what_must_be_kept_needs_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(UsageError, match="nnUNet_results is not set; export nnUNet_results=FOLDER"):
        store_loss("focal(gamma=2)")


def test_weights_that_change_during_training_are_refused() -> None:
    with pytest.raises(UsageError, match="in nnU-Net each term has one weight"):
        loss_text("(1, 0.1)*dice_ce + (0, 1)*boundary")
