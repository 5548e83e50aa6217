"""Commands of `lesionloss` inside the test process."""

import sys
from collections.abc import Callable

import pytest

from lesionloss.cli import main

Command = Callable[..., tuple[object, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command; gives exit code, output and error."""
    monkeypatch.setenv("COLUMNS", "150")

    def call(*words: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["lesionloss", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return call
