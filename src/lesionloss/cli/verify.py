"""`lesionloss verify`: whether a run folder is as it was written."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import hint, say
from lesionloss.core.errors import ExitCode

if TYPE_CHECKING:
    from lesionloss.runs.verify import Verification

EXAMPLES = """
lesionloss verify runs/mine
lesionloss verify runs/mine --json
"""


@command(panel=panels.RESULTS, examples=EXAMPLES)
def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="What `lesionloss bench --out` or `lesionloss train --out` wrote.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of lines.")] = False,
) -> None:
    """List the files of a run that are damaged, edited or absent; exit code 1 if there are any.

    Every file of every finished trial is compared with the checksum in the trial's manifest.json, plan and cohort with
    those that the trials were made with, prepared cases with the index of the cohort. Nothing is written.
    """
    from lesionloss.runs.verify import verify_run

    found = verify_run(folder)
    if as_json:
        runs = [asdict(each) | {"folder": str(each.folder)} for each in found]
        say(json.dumps({"whole": not _count(found), "runs": runs}, indent=1))
    else:
        for each in found:
            _print(each)
    if _count(found):
        raise typer.Exit(ExitCode.PROBLEM)


def _count(found: "tuple[Verification, ...]") -> int:
    return sum(len(each.findings) for each in found)


def _print(each: "Verification") -> None:
    from lesionloss.core.number_text import plural

    for finding in each.findings:
        say(f"{each.folder / finding.file}: {finding.state}: {finding.detail}")
    what = f"{plural(each.trials, 'finished trial')} and {plural(each.cases, 'prepared case')} compared"
    rest = f"{plural(len(each.findings), 'file')} not as written" if each.findings else "all as written"
    say(f"{each.folder}: {what}; {rest}")
    if each.findings:
        hint("remove the folders of these trials and bench again; restore plan or cohort from a copy")
