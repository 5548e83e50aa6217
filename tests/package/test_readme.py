"""The blocks of README.md, and of the pages that lead on from it, do what they say.

Python stands in fences, shell in indented lines; they run in the order of the pages.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from command_lines import run_commands, run_python
from linked_venv import ROOT
from make_cohort import write_cohort

SOURCE = str(ROOT / "src")
PAGES = [ROOT / name for name in ("README.md", "docs/howto/benchmark.md", "docs/howto/own-code.md")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def python_of(page: Path) -> list[str]:
    return [inside for word, inside in FENCE.findall(page.read_text(encoding="utf-8")) if word == "python"]


def shell_of(page: Path) -> list[str]:
    lines = FENCE.sub("", page.read_text(encoding="utf-8")).splitlines()
    found = [line.partition("  #")[0].strip() for line in lines if line.startswith("    ")]
    return [line for line in found if line.startswith(("pip ", "make ", "lesionloss "))]


SHELL = [command for page in PAGES for command in shell_of(page)]

# What runs in place of a command that needs hours, a trained model, or a file of the user.
INSTEAD = {
    "make demo": "make --dry-run demo",
    "make test": "make --dry-run test",
    "make docs": "make --dry-run docs",
    "lesionloss bench plan.toml --data FOLDER --out runs/mine": "lesionloss bench mine.toml --data FOLDER --dry-run",
    "lesionloss init FOLDER --hours 8 --out mine.toml": "lesionloss init FOLDER --force",
    "lesionloss report runs/mine runs/other --out both.html": "lesionloss report --help",
    "lesionloss --with my_losses.py bench quickstart --loss root_tversky --out runs/root": (
        "lesionloss --with my_losses.py bench tiny_plan.toml --loss root_tversky --out runs/root"
    ),
    "lesionloss check monai_dice_ce --with theirs.py": "lesionloss losses monai_dice_ce --with theirs.py",
    "lesionloss bench quickstart --with theirs.py --loss monai_dice_ce --loss their_tversky --out runs/theirs": (
        "lesionloss losses their_tversky --with theirs.py"
    ),
    'lesionloss networks "two_layers(features=8)" --with nets.py --data FOLDER': "lesionloss networks --json",
    "lesionloss bench my_plan.toml --with nets.py --set 'network.text=\"two_layers(features=8)\"' --out runs/mine": (
        "lesionloss bench --help"
    ),
    "lesionloss predict --baseline A.nii.gz --followup B.nii.gz --out predicted": "lesionloss predict --help",
    "lesionloss predict MODEL --with my_package.nets --cohort FOLDER --out predicted": "lesionloss predict --help",
    "lesionloss predict MODEL --with nets.py --cohort FOLDER --out predicted": "lesionloss predict --help",
}
# Reports without PDF and PNG of the figures, which take most of the time.
SVG_ONLY = "from lesionloss.report import write_report\nwrite_report.__kwdefaults__['formats'] = ()\n"
# The plan that `init` would write, in seconds.
TINY = {'source = "synth"\nsynth_patients = 4\nsynth_spacing_mm = 4.0': 'source = ""\nlayout = "msseg2"'}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages suppose: patients, plans, files with losses and networks."""
    place = tmp_path_factory.mktemp("readme")
    write_cohort(place / "FOLDER")
    tiny = ROOT / "tests" / "package" / "tiny_plan.toml"
    shutil.copy(tiny, place)
    plan = tiny.read_text()
    for before, wanted in TINY.items():
        assert before in plan
        plan = plan.replace(before, wanted)
    (place / "mine.toml").write_text(plan)
    for name, block in zip(("my_losses", "theirs", "nets"), python_of(PAGES[2]), strict=True):
        (place / f"{name}.py").write_text(block)
    return place


def test_the_python_of_the_readme_runs(folder: Path) -> None:
    (block,) = python_of(PAGES[0])
    (folder / "first.py").write_text(block)
    run_python(sys.executable, "first.py", folder=folder, path=SOURCE)


def test_every_substitute_is_for_a_command_of_the_pages() -> None:
    assert set(INSTEAD) <= set(SHELL)


@pytest.mark.parametrize("command", [command for command in SHELL if command.startswith("pip ")])
def test_what_it_installs_exists(command: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.fullmatch(r'pip install "?lesionloss(?:\[(\w+)\])?"?', command)
    assert found
    assert found[1] is None or found[1] in project["optional-dependencies"]


@pytest.mark.parametrize("command", [command for command in SHELL if command.startswith("make ")])
def test_what_it_makes_can_be_made(command: str) -> None:
    subprocess.run(shlex.split(INSTEAD[command]), cwd=ROOT, check=True, capture_output=True)


def test_the_commands_run(folder: Path) -> None:
    commands = [command for command in SHELL if not command.startswith(("pip ", "make "))]
    lines = [shlex.split(INSTEAD.get(command, command))[1:] for command in commands]
    ended = run_commands(sys.executable, lines, folder, SOURCE, SVG_ONLY)
    assert {command: each.err for command, each in zip(commands, ended, strict=True) if each.code} == {}
    assert (folder / "runs" / "mine" / "report.html").is_file()
    assert (folder / "plan.toml").is_file()


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) < 120
