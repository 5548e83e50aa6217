"""The tutorial on nnU-Net's results runs, from the results to the report, which says only what is known."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "3-nnunet-results.ipynb"


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    names: dict[str, object] = {"__name__": "tutorial"}
    for cell in cells:
        exec(compile(cell.source, NOTEBOOK.name, "exec"), names)
    assert capsys.readouterr().out == "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    _check_report(tmp_path / "runs" / "ms")


def _check_report(run: Path) -> None:
    """The report says who trained, what is unknown, and what was collected."""
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "the networks were trained elsewhere" in page
    assert "What was collected" in page
    for invented in ("trials ended well", "all losses started from", "only by networks that were not trained on it"):
        assert invented not in page
    record = json.loads((run / "report.json").read_text())
    assert dict(record["in_short"])["Training"] == "elsewhere, not by this program"
    assert (record["training_loss"], record["thresholds"], record["calibration"]) == ([], [], [])  # masks alone
    assert len(record["cases"]) == 9
