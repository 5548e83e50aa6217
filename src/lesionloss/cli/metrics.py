"""`lesionloss metrics`: the list of metrics, and the card of one."""

from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import hint, plain_console, say

if TYPE_CHECKING:
    from lesionloss.metrics import Metric

METRICS_HELP = """List the metrics, or show one: its formula, source, options, and values where a mask is empty.
"""
METRICS_EXAMPLES = """
lesionloss metrics
lesionloss metrics hd95
lesionloss metrics --json
"""


@command(panel=panels.LOSSES, help=METRICS_HELP, examples=METRICS_EXAMPLES)
def metrics(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show the card of this metric.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the cards of all metrics as Markdown.")
    ] = False,
) -> None:
    """List the metrics, or show one."""
    from lesionloss import metrics as registered
    from lesionloss.metrics import metric_docs

    records = [registered.choose(name).metric] if name else registered.list_metrics()
    if as_markdown:
        say(metric_docs.markdown(), nl=False)
    elif as_json:
        _print_json(records)
    elif name:
        _print_card(records[0])
    else:
        _print_table(records)


def _print_json(records: "list[Metric]") -> None:
    import json
    from dataclasses import asdict

    from lesionloss.metrics import metric_docs
    from lesionloss.metrics.export import plain

    rows = [
        {
            "name": record.name,
            "title": record.title,
            "unit": record.unit,
            "better": record.direction,
            "formula": metric_docs.formula(record),
            "source": record.source,
            "options": record.options,
            "needs": sorted(record.needs),
            "empty": {kind: "computed" if value is None else value for kind, value in asdict(record.empty).items()},
            "worst": metric_docs.worst(record),
        }
        for record in records
    ]
    say(json.dumps(plain(rows), indent=2, ensure_ascii=False))


def _print_card(record: "Metric") -> None:
    from rich.table import Table

    from lesionloss.metrics import metric_docs

    card = Table.grid(padding=(0, 2, 0, 0))
    card.add_column(no_wrap=True, style="bold")
    card.add_column(overflow="fold")
    card.add_row("formula", metric_docs.formula(record))
    card.add_row("unit", record.unit or "none")
    card.add_row("better", record.direction.value.replace("_", " "))
    for option, default, words in metric_docs.options(record):
        card.add_row(option, f"{words}; default: {default}")
    for which, value in (("pred.", record.empty.pred), ("ref.", record.empty.ref), ("both", record.empty.both)):
        card.add_row(f"{which} empty", metric_docs.cell(value))
    if record.worst:
        card.add_row("missed case", {"0": "0", "diagonal": "the diagonal of the image"}[metric_docs.worst(record)])
    if record.needs:
        card.add_row("needs", metric_docs.needs(record))
    card.add_row("source", record.source)
    console = plain_console()
    console.print(metric_docs.call(record), style="bold", markup=False)
    console.print(record.title, markup=False)
    console.print()
    console.print(card, markup=False)


def _print_table(records: "list[Metric]") -> None:
    from rich.table import Table

    from lesionloss.metrics import Better

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("metric", no_wrap=True, style="bold")
    for heading in ("unit", "better"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it is")
    for record in records:
        better = "" if record.direction is Better.NONE else record.direction.value.replace("_", " ")
        table.add_row(record.name, record.unit, better, record.title)
    plain_console().print(table)
    hint('\nShow one: lesionloss metrics NAME. Options are written "nsd(tolerance_mm=2)".')
