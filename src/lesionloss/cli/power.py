"""`lesionloss power`: what a run could have found, and what a wanted difference needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli.app import app

if TYPE_CHECKING:
    from lesionloss.statistics import Outlook

POWER_HELP = """Detectable differences, and the patients and seeds that a wanted difference needs.

The spread between patients and between trainings is taken from the run; a small pilot run is enough.

Examples:

    lesionloss power runs/x --difference 0.01

    lesionloss power runs/x --difference 1.5 --metric hd95 --power 0.9
"""


@app.command(help=POWER_HELP)
def power(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, as `lesionloss bench --out` wrote it.")],
    difference: Annotated[
        float, typer.Option("--difference", "-d", help="The wanted difference, in the metric's unit.")
    ],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric; the plan's own if none.")] = "",
    baseline: Annotated[str, typer.Option("--baseline", help="The loss to compare with; the plan's if none.")] = "",
    chance: Annotated[float, typer.Option("--power", help="Probability of finding the difference.")] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of sentences.")] = False,
) -> None:
    from lesionloss.runs.results import load
    from lesionloss.statistics import outlook

    results = load(folder)
    metric = metric or results.primary_metric
    found = outlook(results, metric, difference, baseline=baseline or None, power=chance)
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2, allow_nan=False))
    else:
        _print(found)


def _print(outlooks: "tuple[Outlook, ...]") -> None:
    from rich.console import Console
    from rich.text import Text

    from lesionloss.core.number_text import number, plural
    from lesionloss.report.wording import outlook_sentences
    from lesionloss.runs.values import facts

    first = outlooks[0]
    console = Console()
    many = f" (Holm over {first.comparisons} losses: {number(first.level, 4)})" if first.comparisons > 1 else ""
    console.print(
        Text(
            f"{facts(first.metric).title}, two-sided tests at 5 %{many}; this run has "
            f"{plural(first.design.patients, 'patient')}, {plural(first.design.folds, 'fold')} and "
            f"{plural(first.design.seeds, 'seed')}."
        )
    )
    for entry in outlooks:
        console.print(Text(f"\n{entry.loss} against {entry.baseline}", style="bold"))
        for sentence in outlook_sentences(entry):
            console.print(Text(f"  {sentence}"))
