"""The notebook runs, from a folder of predictions to the report."""

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
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


def test_it_takes_ten_lines() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines() if line]
    assert len(lines) <= 10
