"""A virtual environment with a wheel and exactly the packages it requires, as links to those that run the tests."""

import re
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this repository, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def wheel_metadata(wheel: Path) -> Message:
    """The headers of a wheel, with its description as the payload."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def requirements(metadata: Message, extra: str = "") -> list[Requirement]:
    """What an extra of a wheel asks for; without one, what the wheel alone does."""
    return list(_asked(metadata.get_all("Requires-Dist") or [], extra))


def linked_venv(folder: Path, wheel: Path, extra: str = "") -> Path:
    """Make the environment and return its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    links = folder / "links"
    links.mkdir()
    for found in _closure(requirements(wheel_metadata(wheel), extra)):
        _link(found, links)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "links.pth").write_text(f"{links}\n")
    return python


def _asked(texts: Iterable[str], extra: str) -> Iterator[Requirement]:
    return (each for each in map(Requirement, texts) if each.marker is None or each.marker.evaluate({"extra": extra}))


def _closure(wanted: list[Requirement]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found:
            found[name] = distribution(name)
            wanted += _asked(found[name].requires or [], "")
    return list(found.values())


def _link(found: Distribution, links: Path) -> None:
    """Link every file and folder that a package has put at the top."""
    for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
        if not (links / top).exists():
            (links / top).symlink_to(Path(str(found.locate_file(top))))
