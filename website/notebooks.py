"""Notebooks as pages: their cells and stored outputs. The tests execute them; here nothing runs."""

import base64
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode


def navigation(folder: Path) -> list[object]:
    """The notebooks in their order: each is named NUMBER-WORDS."""
    return [f"tutorials/{path.stem}.md" for path in sorted(folder.glob("*.ipynb"))]


def pages(folder: Path) -> dict[str, str | bytes]:
    """A page for each notebook, and its pictures."""
    made: dict[str, str | bytes] = {}
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        text = []
        for number, cell in enumerate(notebook.cells):
            text += [cell.source] if cell.cell_type == "markdown" else [f"```python\n{cell.source}\n```"]
            for output in cell.get("outputs", []):
                shown, pictures = _output(output, f"{path.stem}-{number}.png", cell.metadata.get("alt", ""))
                made |= {f"tutorials/{name}": content for name, content in pictures.items()}
                text += [shown] if shown else []
        title, _, rest = "\n\n".join(text).partition("\n")
        made[f"tutorials/{path.stem}.md"] = f"{title}\n\n[Download this notebook]({path.name})\n{rest}\n"
    return made


def _output(output: NotebookNode, name: str, alt: str) -> tuple[str, dict[str, bytes]]:
    """The text of an output, and its picture."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![{alt}]({name})", {name: base64.b64decode(data["image/png"])}
    text = output.get("text") or data.get("text/plain", "")
    return (f"```{{.text .output}}\n{_plain(text)}\n```" if text.strip() else ""), {}


def _plain(text: str) -> str:
    """Without colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()
