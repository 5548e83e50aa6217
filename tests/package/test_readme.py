"""The blocks of README.md do what they say: Python in fences, shell in indented lines, in the order of the page."""

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

README = (ROOT / "README.md").read_text()
SOURCE = str(ROOT / "src")
PYTHON = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
SHELL = [
    line.partition("#")[0].strip()
    for line in re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S).splitlines()
    if line.startswith("    ")
]

# What runs in place of a command that needs hours, real patients, a cluster or a trained model.
INSTEAD = {
    "make demo": "make --dry-run demo",
    "make test": "make --dry-run test",
    "lesionloss --with my_losses.py bench quickstart --loss root_tversky --out runs/root": (
        "lesionloss --with my_losses.py bench tiny_plan.toml --loss root_tversky --out runs/root"
    ),
    "lesionloss prepare FOLDER OUT --register halfway --n4": "lesionloss prepare FOLDER OUT --n4",
    "lesionloss predict --baseline A.nii.gz --followup B.nii.gz --out predicted": "lesionloss predict --help",
    "lesionloss nnunet train 501 3d_fullres 0 --loss hytver --seed 1": "lesionloss nnunet train --help",
    "lesionloss nnunet bench plan.toml --out runs/nnunet": "lesionloss nnunet bench --help",
    "lesionloss synth OUT --patients 20 --seed 1": "lesionloss synth OUT2 --patients 1 --seed 1",
    "lesionloss synth-check DATA OUT": "lesionloss synth-check --help",
    "lesionloss bench hytver --data DATA/msseg2 --out runs/hytver": "lesionloss bench hytver --print",
    "lesionloss bench hytver --paper --out runs/hytver": "lesionloss bench hytver --paper",
    "lesionloss bench hytver-small --out runs/small --jobs 4": "lesionloss bench hytver-small --print",
    "lesionloss bench hytver-small --out runs/small --engine ray": "lesionloss bench hytver-small --print",
}
PLAN = "lesionloss bench quickstart --print > my_plan.toml"
TINY = {"steps = 120": "steps = 2", "filters=8": "filters=2", "seeds = [\n    1,\n    2,\n]": "seeds = [1]"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page supposes: patients, masks to score, scores of others, the file with a loss."""
    place = tmp_path_factory.mktemp("readme")
    write_cohort(place / "FOLDER")
    for name in (
        "PREDICTIONS",
        "REFERENCES",
        "labels",
        *(f"results/{loss}/fold_0/seed1" for loss in ("dice", "focal")),
    ):
        (place / name).mkdir(parents=True)
        for mask in (place / "FOLDER").rglob("ground_truth.nii.gz"):
            shutil.copy(mask, place / name / f"{mask.parent.name}.nii.gz")
    shutil.copy(ROOT / "tests" / "package" / "tiny_plan.toml", place)
    (place / "my_losses.py").write_text(PYTHON[1])
    (place / "scores.csv").write_text("loss,patient,metric,value\ndice,p1,dice,0.5\nfocal,p1,dice,0.6\n")
    return place


def test_the_first_python_block_runs(folder: Path) -> None:
    preset = 'll.Plan.preset("quickstart")'
    assert preset in PYTHON[0]
    script = folder / "first.py"
    script.write_text(PYTHON[0].replace(preset, 'll.Plan.load("tiny_plan.toml")'))
    run_python(sys.executable, str(script), folder=folder, path=SOURCE)
    assert (folder / "runs" / "quick" / "report.html").is_file()
    assert len(PYTHON) == 2  # the second is my_losses.py


def test_every_substitute_is_for_a_command_of_the_page() -> None:
    assert set(INSTEAD) <= set(SHELL)
    assert PLAN in SHELL


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
    assert all(command.startswith("lesionloss ") for command in commands)
    after = commands.index(PLAN) + 1
    printed = run([*commands[: after - 1], PLAN.partition(" >")[0]], folder)
    plan = printed[-1]
    edits = {'source = "synth"': 'source = ""', 'layout = ""': 'layout = "msseg2"', **TINY}
    for before, wanted in edits.items():
        assert before in plan
        plan = plan.replace(before, wanted, 1)
    (folder / "my_plan.toml").write_text(plan)
    run(commands[after:], folder)
    assert (folder / "runs" / "mine" / "report.html").is_file()


@pytest.mark.slow
def test_the_printed_plan_needs_two_edits_for_a_table(folder: Path) -> None:
    """As the page says, with the layout csv; every other layout: tests/bench/test_data_check.py."""
    table, patients = folder / "cohort.csv", sorted((folder / "FOLDER" / "training").iterdir())
    names = ("flair_time01_on_middle_space.nii.gz", "flair_time02_on_middle_space.nii.gz", "ground_truth.nii.gz")
    rows = [",".join([patient.name, *(str(patient / name) for name in names)]) for patient in patients]
    table.write_text("\n".join(["patient,visit1_flair,visit2_flair,reference", *rows]) + "\n")
    (plan,) = run([PLAN.partition(" >")[0]], folder)
    for before, wanted in {'source = "synth"': 'source = ""', 'layout = ""': 'layout = "csv"', **TINY}.items():
        plan = plan.replace(before, wanted, 1)
    plan = re.sub(r"losses = \[.*?\]", 'losses = ["dice_ce"]', plan, count=1, flags=re.S)  # one, to be quick
    (folder / "csv_plan.toml").write_text(plan)
    run(
        [
            "lesionloss bench csv_plan.toml --data cohort.csv --dry-run",
            "lesionloss bench csv_plan.toml --data cohort.csv --out runs/csv",
        ],
        folder,
    )
    assert len(list((folder / "runs" / "csv" / "trials").iterdir())) == 2 + 2


def run(commands: list[str], folder: Path) -> list[str]:
    """Run commands or what stands for them; all must end well. Returns what each prints."""
    lines = [shlex.split(INSTEAD.get(command, command))[1:] for command in commands]
    ended = run_commands(sys.executable, lines, folder, SOURCE)
    assert {command: each.err for command, each in zip(commands, ended, strict=True) if each.code} == {}
    return [each.out for each in ended]
