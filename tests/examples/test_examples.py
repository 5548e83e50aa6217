"""Every example runs from data to a report, is short, and has a page; every Python block of the pages runs."""

import inspect
import os
import re
import sys
from pathlib import Path

import monai.losses
import pytest

from command_lines import run_python

ROOT = Path(__file__).parents[2]
SOURCE = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != "tiny_data")
PAGES = {
    "monai": "monai_engine",
    "lightning": "lightning_module",
    "pytorch": "plain_pytorch",
    "smp": "smp_slices",
    "torchio": "torchio_subjects",
}


def page(name: str) -> str:
    return (ROOT / "docs" / "howto" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_an_example_gives_a_report(name: str, tmp_path: Path) -> None:
    script = ROOT / "examples" / f"{PAGES[name]}.py"
    run_python(sys.executable, str(script), "out", folder=tmp_path, path=SOURCE)
    predicted = list((tmp_path / "out" / "predictions").rglob("case*.nii.gz"))
    assert len(list((tmp_path / "out" / "references").iterdir())) == 10
    assert len(predicted) == 2 * 2 * 10
    assert "dice_ce" in (tmp_path / "out" / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_example_of_nnunet_gives_a_report_of_proven_pairs(tmp_path: Path) -> None:
    script = ROOT / "examples" / "nnunet_losses.py"
    run_python(sys.executable, str(script), "out", folder=tmp_path, path=SOURCE)
    page = (tmp_path / "out" / "run" / "report.html").read_text(encoding="utf-8")
    assert "Hashes that the trainer wrote prove" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_python_of_a_page_runs(name: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", page(name), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "blocks.py").write_text("\n".join(blocks))
    run_python(sys.executable, "blocks.py", folder=tmp_path, path=SOURCE)
    assert blocks


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_its_example_and_has_a_table(name: str) -> None:
    assert f"(../../examples/{PAGES[name]}.py)" in page(name)
    assert re.search(r"^\| (what you write there|MONAI|argument of MONAI) \|", page(name), flags=re.MULTILINE)


def test_every_argument_of_the_losses_of_monai_is_on_the_page() -> None:
    rows = [line.split("|") for line in page("monai").splitlines() if line.startswith("| `")]
    for theirs in ("Dice", "DiceCE", "DiceFocal", "Tversky", "Focal", "GeneralizedDice"):
        for argument in inspect.signature(getattr(monai.losses, f"{theirs}Loss")).parameters:
            fitting = [row for row in rows if f"`{argument}`" in row[1]]
            assert any({"all", theirs} & {name.strip() for name in row[2].split(",")} for row in fitting), (
                theirs,
                argument,
            )
