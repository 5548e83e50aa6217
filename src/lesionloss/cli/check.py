"""`lesionloss check`: property tests of a loss."""

from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import plain_console, say, say_json
from lesionloss.core.errors import ExitCode

if TYPE_CHECKING:
    from lesionloss.losses.laws import Verdict

EXAMPLES = """
lesionloss check hytver
lesionloss check root_tversky --with my_losses.py
lesionloss check "0.5*dice + 0.5*focal(gamma=3)" --kernel readable
"""


@command(panel=panels.LOSSES, examples=EXAMPLES)
def check(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A loss, or a sum of losses.")],
    kernel: Annotated[
        str | None, typer.Option("--kernel", help="Implementation of the sums: readable or fast.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run property tests (laws) on a loss; a law that fails is shown with a counterexample (exit code 1)."""
    from lesionloss.losses import kernels, laws

    found = list(laws.check(spec, kernel=kernels.by_name(kernel) if kernel else None))
    if as_json:
        rows = [
            {"law": each.law.name, "outcome": each.outcome.value, "says": each.law.statement, "detail": each.detail}
            for each in found
        ]
        say_json({"loss": spec, "laws": rows})
    else:
        _print(spec, found)
    if any(each.outcome is laws.LawOutcome.BREAKS for each in found):
        raise typer.Exit(ExitCode.PROBLEM)


def _print(spec: str, found: "list[Verdict]") -> None:
    from rich.table import Table
    from rich.text import Text

    from lesionloss.losses.laws import LawOutcome

    styles = {"holds": "green", "BREAKS": "bold red", "exempt": "yellow", "does not apply": "dim", "not asked": "cyan"}
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for verdict in found:
        outcome = verdict.outcome.value
        shown = Text(verdict.law.statement)
        if verdict.detail:
            shown.append(f"\n{verdict.detail}", style=styles[outcome])
        table.add_row(Text(verdict.law.name), Text(outcome, style=styles[outcome]), shown)
    plain_console().print(table)
    broken = [verdict.law.name for verdict in found if verdict.outcome is LawOutcome.BREAKS]
    if broken:
        say(f"{spec} breaks {len(broken)} of {len(found)} laws: {', '.join(broken)}")
        return
    unasked = [verdict.law.name for verdict in found if verdict.outcome is LawOutcome.UNASKED]
    say(f"{spec} keeps all laws" + (f" that were asked; not asked: {', '.join(unasked)}" if unasked else ""))
