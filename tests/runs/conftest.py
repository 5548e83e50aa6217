"""A finished run that the tests of reading share."""

from pathlib import Path

import pytest

from lesionloss.bench.run import run
from tiny_runs import tiny_plan


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run; who changes a file of it restores it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    run(tiny_plan(data), out)
    return out
