"""Predictions of others, made once for all tests of a process."""

from pathlib import Path

import pytest

from others_predictions import Others, write_nnunet, write_others


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labels/, results/, maps/ and images/ of two losses, three folds and two seeds."""
    return write_others(tmp_path_factory.mktemp("others"), Others(), maps=True, images=True)


@pytest.fixture(scope="session")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnU-Net's results of the same."""
    return write_nnunet(tmp_path_factory.mktemp("nnunet"), Others())
