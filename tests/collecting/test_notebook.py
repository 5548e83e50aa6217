"""The notebook runs, from a folder of predictions to the report, which says only what is known."""

import json
import shutil
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "collect.ipynb"


def test_the_notebook_runs(others: Path, tmp_path: Path) -> None:
    for name in ("results", "labels", "images"):
        shutil.copytree(others / name, tmp_path / name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "focal minus dice: " in printed
    assert "6 patients, verdict: " in printed
    _check_report(tmp_path / "runs" / "mine")


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
    assert len(record["cases"]) == 6


def test_it_takes_ten_lines() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines() if line]
    assert len(lines) <= 10
