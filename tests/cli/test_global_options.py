"""What holds for every command: --version, --quiet, --verbose, and how it ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dicom_files import write_dicom_series
from lesionloss.core.errors import DataError, ExitCode, LesionLossError, UsageError
from lesionloss.core.version import __version__
from miniature import msseg2_bids

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def test_the_version_names_torch_and_the_device_that_auto_is(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = cli("--version")
    assert (code, err) == (0, "")
    first, second, third = out.splitlines()
    assert (first, second) == (f"lesionloss {__version__}", f"torch {torch.__version__}")
    assert re.fullmatch(r"device (cpu \(\d+ cores\)|cuda:0 \(.+\))", third)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA H200")
    assert cli("--version")[1].splitlines()[2] == "device cuda:0 (NVIDIA H200)"


@pytest.mark.parametrize("place", ["before", "behind"])
def test_quiet_leaves_the_result_and_verbose_adds_cases_versions_and_time(place: str, cli: Any, tmp_path: Path) -> None:
    msseg2_bids(tmp_path / "raw")
    (tmp_path / "raw" / "sub-099" / "ses-01").mkdir(parents=True)

    def prepare(option: str) -> tuple[str, str]:
        words = ["prepare", tmp_path / "raw", tmp_path / f"prepared{option}"]
        code, out, err = cli(*([option] if place == "before" else []), *words, *([option] if place == "behind" else []))
        assert code == 0
        assert "2 cases prepared, 0 unchanged" in out
        return out, err

    assert "left out: sub-099" in prepare("--debug")[1]
    assert prepare("-q")[1] == ""
    _, said = prepare("-v")
    assert f"lesionloss {__version__}\n" in said
    assert "preparing: 1 of 2 sub-013\npreparing: 2 of 2 sub-015\n" in said
    assert re.search(r"\ntook \d+\.\d s\n$", said)
    assert "left out: sub-099" in said
    assert "One of them" not in cli("layouts", "-q")[1]
    code, out, err = cli("layouts", "nix", "-q")
    assert (code, out) == (2, "")
    assert "nix" in err
    assert "exclude each other" in cli("-q", "-v", "losses")[2]


def test_commands_end_as_the_page_says(cli: Any, tmp_path: Path) -> None:
    """Each row of the table is tried; errors of the package have no other codes."""
    rows = dict(re.findall(r"^\| `(\d+)` \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(map(int, rows)) == set(map(int, ExitCode))
    assert {LesionLossError.exit_code, DataError.exit_code, UsageError.exit_code} == {ExitCode.PROBLEM, ExitCode.USAGE}
    folder = tmp_path / "raw" / "A1"
    for file in write_dicom_series(folder, torch.ones(4, 4, 3).short().numpy()):
        file.write_bytes(file.read_bytes()[:200])
    (tmp_path / "file").touch()
    for code, words in (
        (ExitCode.FINE, ["losses", "dice", "--json"]),
        (ExitCode.PROBLEM, ["data", tmp_path / "raw"]),  # something was found
        (ExitCode.PROBLEM, ["prepare", tmp_path / "raw", tmp_path / "out"]),  # a damaged file
        (ExitCode.PROBLEM, ["explain", "dice", "--csv", tmp_path / "file" / "x.csv"]),  # the system refuses
        (ExitCode.USAGE, ["losses", "nix"]),
        (ExitCode.USAGE, ["losses", "--nix"]),
        (ExitCode.USAGE, ["nix"]),
        (ExitCode.USAGE, ["data", tmp_path / "nix"]),
    ):
        assert cli(*words)[0] == code, words


def test_several_runs_are_one_json_document(cli: Any) -> None:
    from lesionloss.cli.bench_tables import one_or_named

    assert one_or_named({"a": '{"x": 1}'}) == '{"x": 1}'
    assert json.loads(one_or_named({"a": '{"x": 1}', "b": "[2]"})) == {"a": {"x": 1}, "b": [2]}
