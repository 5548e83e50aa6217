"""The page about the architecture names the rooms that exist, in the order that import-linter checks."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lesionloss"
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")


def rooms_in(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def test_every_room_has_a_paragraph_and_every_paragraph_a_room() -> None:
    assert set(re.findall(r"^\*\*`(\w+)/`\*\*", PAGE, re.MULTILINE)) == rooms_in(PACKAGE)


def test_folders_inside_rooms_exist() -> None:
    paragraphs = PAGE.split("## Rooms")[1].split("## Pairing")[0].split("\n\n")
    for paragraph in paragraphs:
        room = re.match(r"\*\*`(\w+)/`\*\*", paragraph.strip())
        if room:
            inner = set(re.findall(r"`(\w+)/`", paragraph)) - {room.group(1)}
            assert inner <= rooms_in(PACKAGE / room.group(1)), room.group(1)
            files = set(re.findall(r"`(\w+\.py)`", paragraph))
            assert files <= {path.name for path in (PACKAGE / room.group(1)).iterdir()}, room.group(1)


def test_the_layers_of_the_page_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    checked = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = PAGE.split("## Rooms")[0]
    assert [line.strip() for line in shown.splitlines() if line.strip() in checked] == checked


def test_modules_of_one_name_are_counterparts_in_the_command_line() -> None:
    seen: dict[str, Path] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "__init__.py" or path.parent.name == "cli":  # counterparts, as cli/data.py of data/
            continue
        assert path.name not in seen, (path, seen.get(path.name))
        seen[path.name] = path
