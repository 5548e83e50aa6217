"""Commands of `lesionloss` one after the other in another Python, which loads torch once for all of them."""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

_MAIN = """
import contextlib, io, json, sys
from lesionloss.cli import main

ended = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["lesionloss", *line]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    ended.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(ended))
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_python(interpreter: str | Path, *arguments: str, folder: Path, path: str = "") -> str:
    """What a Python prints, with `path` as its PYTHONPATH; it must end well."""
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    ran = subprocess.run([interpreter, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def run_commands(
    interpreter: str | Path, lines: list[list[str]], folder: Path, path: str = "", before: str = ""
) -> list[Ended]:
    """How each command ended; `lines`: their arguments, `before`: Python that runs before them."""
    printed = run_python(interpreter, "-c", before + _MAIN, json.dumps(lines), folder=folder, path=path)
    return [Ended(*each) for each in json.loads(printed.splitlines()[-1])]
