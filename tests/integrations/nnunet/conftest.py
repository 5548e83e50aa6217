"""A tiny preprocessed data set, in the environment of nnU-Net."""

from pathlib import Path

import pytest

from nnunet_tiny import use_folders, write_preprocessed


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with nnU-Net's three folders; one lesion class."""
    write_preprocessed(tmp_path)
    use_folders(monkeypatch, tmp_path)
    return tmp_path
