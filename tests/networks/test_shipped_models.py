"""The models in the package: small, whole, described, and used where none is named."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lesionloss import UsageError
from lesionloss.cli import app
from lesionloss.networks import shipped_models
from lesionloss.networks.bundle import WEIGHTS, load_bundle
from lesionloss.networks.shipped_models import DEFAULT, model_folder


@pytest.mark.parametrize("name", shipped_models.shipped_models())
def test_a_shipped_model_is_small_whole_and_described(name: str) -> None:
    folder = model_folder(Path(name))
    assert (folder / WEIGHTS).stat().st_size <= 12e6
    bundle = load_bundle(folder)
    with torch.inference_mode():
        logits = bundle.network(torch.zeros(1, len(bundle.record.channels), 16, 16, 16))
    assert bool(torch.isfinite(logits).all())
    listed = CliRunner().invoke(app, ["models"]).output
    for text in (bundle.record.licence, *(bundle.record.training[key] for key in ("task", "scores", "limits"))):
        assert text
        assert text in listed.replace("\n", " ")


def test_a_model_is_a_folder_a_name_or_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder(None).name == DEFAULT
    assert model_folder(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert model_folder(Path(DEFAULT)).is_absolute()
    (tmp_path / DEFAULT).mkdir()
    assert model_folder(Path(DEFAULT)) == Path(DEFAULT)  # a folder of one's own comes first
    monkeypatch.setattr(shipped_models, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match="came without its model"):
        model_folder(None)
