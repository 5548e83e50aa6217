"""Install the lowest versions that pyproject.toml allows, and try them: laws, a small run, its comparison and report.

    python tests/package/lowest_versions.py FOLDER

FOLDER becomes a virtual environment of some gigabytes; one that is there is used again.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PLAN = Path(__file__).with_name("tiny_plan.toml")
LAWS = ("tests/losses/test_laws.py", "-k", "every_law and (hytver or dice or focal) or compiles_and_exports")


def run(*command: str | Path, folder: Path = ROOT) -> None:
    """Print a command and run it; the first that fails ends the check."""
    print("+", *command, flush=True)
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": ""}, check=True)


def install(environment: Path) -> None:
    """Make the environment: our direct requirements as low as allowed, what they need as it comes."""
    uv = environment / "bin" / "uv"
    pip = (uv, "pip", "install", "--no-config", "--quiet", "--python", environment / "bin" / "python")
    if not uv.exists():
        run(sys.executable, "-m", "venv", environment)
        run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", "uv")
    run(*pip, "--resolution", "lowest-direct", "--editable", ".[bench]", "pytest>=8", "hypothesis>=6.100")
    run(uv, "pip", "list", "--python", environment / "bin" / "python")


def try_them(binaries: Path, folder: Path) -> None:
    """Use what was installed, in a folder that is empty before."""
    command = binaries / "lesionloss"
    run(command, "--help", folder=folder)
    run(binaries / "python", "-m", "pytest", "-p", "no:cacheprovider", *LAWS)
    run(command, "bench", PLAN, "--out", "run", "--jobs", "1", folder=folder)
    run(command, "compare", "run", "--metric", "dice", folder=folder)
    run(command, "report", "run", folder=folder)


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    install(place)
    with TemporaryDirectory() as empty:
        try_them(place / "bin", Path(empty))
    print("the lowest versions work")
