"""`lesionloss layouts`: which folders of images are recognised."""

from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import hint, plain_console, say, say_json

if TYPE_CHECKING:
    from lesionloss.data.layouts.records import Layout

EXAMPLES = """
lesionloss layouts
lesionloss layouts msseg2
lesionloss layouts csv
"""


@command(panel=panels.IMAGES, examples=EXAMPLES)
def layouts(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this layout.")] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all layouts, as the documentation has them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the folder layouts of data sets, or show what the folder of one looks like and what it holds."""
    from lesionloss.data.layouts import layout_docs
    from lesionloss.data.layouts import layouts as registered

    if as_markdown:
        say(layout_docs.markdown(), nl=False)
    elif as_json:
        say_json([_record(layout) for layout in ([registered.get(name)] if name else registered)])
    elif name:
        _print_layout(registered.get(name))
    else:
        _print_table(list(registered))


def _record(layout: "Layout") -> dict[str, object]:
    return {
        "name": layout.name,
        "title": layout.title,
        "looks_like": layout.looks_like,
        "visits": layout.visits,
        "contrasts": list(layout.contrasts),
        "targets": {target.name: target.title for target in layout.targets},
        "tested_on": layout.tested_on,
    }


def _print_layout(layout: "Layout") -> None:
    from rich.table import Table

    from lesionloss.data.layouts import layout_docs

    first, rest = layout_docs.description(layout)
    card = Table.grid(padding=(0, 2, 0, 0))
    card.add_column(no_wrap=True, style="bold")
    card.add_column(overflow="fold")
    card.add_row("folder", layout.looks_like)
    card.add_row("visits", layout.visits)
    card.add_row("contrasts", layout_docs.contrasts(layout))
    for number, target in enumerate(layout.targets):
        card.add_row("target" if number else "target (default)", f"{target.name}: {target.title}")
    card.add_row("tested on", layout.tested_on or "small folders of this form only")
    console = plain_console()
    console.print(layout.name, style="bold", markup=False)
    console.print(first, markup=False)
    console.print()
    console.print(card, markup=False)
    if rest:
        console.print()
        console.print(rest.replace("\n", " "), markup=False)


def _print_table(records: "list[Layout]") -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("layout", no_wrap=True, style="bold")
    table.add_column("data")
    table.add_column("targets")
    for record in records:
        table.add_row(record.name, record.title, ", ".join(target.name for target in record.targets))
    plain_console().print(table)
    hint("\nOne of them: lesionloss layouts NAME. Any other folder: a table of files, lesionloss layouts csv.")
