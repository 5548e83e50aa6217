"""`lesionloss losses`: the list of losses, and the card of one."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import hint, plain_console, say

if TYPE_CHECKING:
    from lesionloss.losses.registry import LossRecord

NAME_COLUMNS, SOURCE_COLUMNS = 23, 14
EXAMPLES = """
lesionloss losses
lesionloss losses hytver
lesionloss --with my_losses.py losses --json
"""


@command(panel=panels.LOSSES, examples=EXAMPLES)
def losses(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show the card of this loss.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print all cards as one Markdown page.")] = False,
) -> None:
    """List the losses, or show the card of one: formula, hyperparameters, source, example."""
    from lesionloss.losses import loss_docs, registry

    records = [registry.get(name)] if name else registry.list_losses()
    if as_markdown:
        say(loss_docs.markdown(), nl=False)
    elif as_json:
        _print_json(records)
    elif name:
        _print_card(records[0])
    else:
        _print_table(records)


def _print_json(records: list["LossRecord"]) -> None:
    import json

    rows = [
        {
            "name": record.name,
            "class": record.class_name,
            "title": record.title,
            "defaults": record.defaults,
            "source": record.source,
            "sum_of": record.text,
        }
        for record in records
    ]
    say(json.dumps(rows, indent=2, ensure_ascii=False))


def _print_card(record: "LossRecord") -> None:
    from rich.table import Table

    from lesionloss.losses.loss_docs import NOTES, call, sections

    found = sections(record)
    card = Table.grid(padding=(0, 2, 0, 0))
    card.add_column(no_wrap=True, style="bold")
    card.add_column(overflow="fold")
    if "Formula" in found:
        card.add_row("formula", found["Formula"])
    for key, hyperparameter in record.hyperparameters.items():
        card.add_row(key, f"{found.get(key, 'not described')}; {hyperparameter.describe()}")
    for heading, label in NOTES.items():
        if heading in found:
            card.add_row(label, found[heading])
    card.add_row("source", record.source)
    card.add_row("class", f"lesionloss.{record.class_name}")
    card.add_row("example", f'lesionloss.build("{found.get("Example", record.name)}")')
    console = plain_console()
    console.print(call(record), style="bold", markup=False)
    console.print(record.title, markup=False)
    console.print()
    console.print(card, markup=False)


def _print_table(records: list["LossRecord"]) -> None:
    """A row for each loss, by families: name, what it does, first source. It fits 80 columns; long texts wrap."""
    from itertools import groupby

    from rich.table import Table

    from lesionloss.losses.loss_docs import family

    console = plain_console()
    for heading, members in groupby(records, key=family):
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, min_width=NAME_COLUMNS, style="bold")
        table.add_column(ratio=1)
        table.add_column(width=SOURCE_COLUMNS)
        for record in members:
            first, _, rest = record.title.partition(": ")
            source = re.split(r"[;,:(]", record.source)[0].strip()
            table.add_row(record.name, (rest or first).rstrip("."), source)
        console.print(heading, markup=False)
        console.print(table)
    hint('\nThe card of a loss: lesionloss losses NAME\nA sum of losses is written as "0.5*dice + 0.5*focal(gamma=3)".')
