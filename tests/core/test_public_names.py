"""The public names: all exist, `dir` lists them, and type checkers know them."""

from pathlib import Path

import pytest
from mypy import api

import lesionloss
from lesionloss.losses.write_stub import STUB, stub_text

ROOT = Path(__file__).parents[2]
SOURCE = """
import torch
from lesionloss import DiceLoss, HyTverLoss, Plan, build, list_losses, score

reveal_type(build("dice"))
reveal_type(build("dice")(torch.zeros(1), torch.zeros(1)))
reveal_type(HyTverLoss(fn=0.8, pooled=True))
reveal_type(score)
reveal_type(Plan)
HyTverLoss(fnn=3)
HyTverLoss(fn="0.3")
HyTverLoss(0.3)
"""
EXPECTED = (
    'Revealed type is "lesionloss.losses.criterion.Loss"',
    'Revealed type is "torch._tensor.Tensor"',
    'Revealed type is "lesionloss.HyTverLoss"',
    'Revealed type is "def (case: lesionloss.metrics.case.Case',
    'Revealed type is "def (',
    'Unexpected keyword argument "fnn" for "HyTverLoss"',
    'Argument "fn" to "HyTverLoss" has incompatible type "str"; expected "float"',
    'Too many positional arguments for "HyTverLoss"',
)


def test_every_public_name_exists() -> None:
    assert [name for name in lesionloss.__all__ if getattr(lesionloss, name, None) is None] == []
    unknown = "nothing"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(lesionloss, unknown)
    with pytest.raises(AttributeError, match="no loss has a class named 'NothingLoss'"):
        getattr(lesionloss, f"{unknown.capitalize()}Loss")


def test_dir_lists_functions_and_classes() -> None:
    listed = dir(lesionloss)
    assert {"build", "score", "Plan", "list_losses", "list_metrics", "list_networks"} <= set(listed)
    assert {record.class_name for record in lesionloss.list_losses()} <= set(listed)
    assert all(hasattr(lesionloss, name) for name in listed)


def test_the_stub_is_up_to_date() -> None:
    assert STUB.read_text(encoding="utf-8") == stub_text(), "run: python -m lesionloss.losses.write_stub"


def test_type_checkers_see_types_and_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "user.py"
    path.write_text(SOURCE)
    monkeypatch.setenv("MYPYPATH", str(ROOT / "src"))
    # With the settings of `make lint`, whose cache it shares: a minute without, seconds with it.
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    report, problem, _ = api.run([*settings, "--enable-error-code", "arg-type", str(path)])
    assert problem == ""
    lines = [line for line in report.splitlines() if ": note: Revealed" in line or ": error: " in line]
    assert len(lines) == len(EXPECTED), report
    for line, words in zip(lines, EXPECTED, strict=True):
        assert words in line
