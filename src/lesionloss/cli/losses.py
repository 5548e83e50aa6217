"""`lesionloss losses`: what there is, and the card of one loss."""

from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli.app import app

if TYPE_CHECKING:
    from lesionloss.registry import LossRecord

EXAMPLES = """
Examples:

  lesionloss losses

  lesionloss losses hytver

  lesionloss --with my_losses.py losses --json
"""


@app.command(epilog=EXAMPLES)
def losses(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the card of this loss.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False,
) -> None:
    """List the losses, or show what one is, where it comes from and what its hyperparameters do."""
    from lesionloss import registry

    records = [registry.get(name)] if name else registry.losses()
    if as_json:
        _print_json(records)
    elif name:
        _print_card(records[0])
    else:
        _print_table(records)


def _call(record: "LossRecord") -> str:
    return f"{record.name}({', '.join(f'{key}={value}' for key, value in record.defaults.items())})"


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
    typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))


def _print_card(record: "LossRecord") -> None:
    typer.echo(f"{_call(record)}\n\n{record.doc}\n\nSource: {record.source}")


def _print_table(records: list["LossRecord"]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("loss", "what it does", "hyperparameters and defaults", "source", show_lines=False, pad_edge=False)
    for record in records:
        defaults = ", ".join(f"{key}={value}" for key, value in record.defaults.items())
        table.add_row(f"[bold]{record.name}[/bold]", record.title, defaults, record.source)
    Console().print(table)
