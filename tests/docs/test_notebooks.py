"""The tutorials run as they are stored, their pictures have descriptions, and their page lists them all."""

import contextlib
import io
import os
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

from lesionloss.losses.registry import LOSSES

FOLDER = Path(__file__).parents[2] / "docs" / "tutorials"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
QUICK = ("1-first-loss", "6-seeds-and-patients")  # seconds, without a kernel


def cells(name: str, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells if cell.cell_type == kind]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_there_are_six_and_the_page_lists_them() -> None:
    page = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert [name[0] for name in NOTEBOOKS] == list("123456")
    assert re.findall(r"\]\((\d[\w-]+)\.md\)", page) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_picture_is_described_and_nothing_names_this_machine(name: str) -> None:
    pictures = [cell for cell in cells(name, "code") if any("image/png" in o.get("data", {}) for o in cell.outputs)]
    assert pictures
    assert all(len(cell.metadata["alt"]) > 30 for cell in pictures)
    stored = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(stored) < 250_000
    assert "Traceback" not in stored
    assert re.findall(r"(?<![\w.:/<*)])/\w[\w.-]*/[\w./-]+", "".join(map(printed, cells(name, "code")))) == []


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_one_prints_what_is_stored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict[str, object] = {"__name__": "tutorial"}
    try:
        for cell in cells(name, "code"):
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                exec(compile(cell.source, name, "exec"), names)
            assert shown.getvalue() == printed(cell)
    finally:
        if "root_tversky" in LOSSES:
            LOSSES.remove("root_tversky")


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_in_a_kernel(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(output.output_type != "error" for cell in notebook.cells for output in cell.get("outputs", []))
