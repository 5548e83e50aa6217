"""`lesionloss power`: the differences that a run can detect, and what a given difference needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionloss.cli import panels
from lesionloss.cli.commands import command
from lesionloss.cli.terminal import plain_console, say

if TYPE_CHECKING:
    from lesionloss.statistics import PowerAnalysis

POWER_HELP = """Print the differences that a run can detect, and the patients and seeds that a given difference needs.

The spread between patients and between training runs is taken from the run; a small pilot run is enough.
"""
POWER_EXAMPLES = """
lesionloss power runs/x --difference 0.01
lesionloss power runs/x --difference 1.5 --metric hd95 --power 0.9
"""


@command(panel=panels.RESULTS, help=POWER_HELP, examples=POWER_EXAMPLES)
def power(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run folder, as `lesionloss bench --out` wrote it.")],
    difference: Annotated[
        float, typer.Option("--difference", "-d", help="The difference to detect, in the unit of the metric.")
    ],
    metric: Annotated[str, typer.Option("--metric", "-m", help="The metric; default: the plan's primary metric.")] = "",
    baseline: Annotated[str, typer.Option("--baseline", help="The loss to compare with; default: the plan's.")] = "",
    chance: Annotated[float, typer.Option("--power", help="Probability of detecting the difference.")] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program instead of sentences.")] = False,
) -> None:
    """Print the power analysis of a run."""
    from lesionloss.runs.load_run import load
    from lesionloss.statistics import analyse_power
    from lesionloss.statistics.comparison import with_baseline

    results = load(folder)
    scores = with_baseline(results.metric_scores(metric or results.primary_metric), baseline or None)
    found = analyse_power(scores, difference, power=chance)
    if as_json:
        import json
        from dataclasses import asdict

        say(json.dumps([asdict(entry) for entry in found], indent=2, allow_nan=False))
    else:
        _print(found)


def _print(analyses: "tuple[PowerAnalysis, ...]") -> None:
    from rich.text import Text

    from lesionloss.core.number_text import number, plural
    from lesionloss.report.power_wording import RANGES, power_sentences
    from lesionloss.runs.metric_facts import metric_facts

    first = analyses[0]
    console = plain_console()
    many = f" (Holm over {first.comparisons} losses: {number(first.level, 4)})" if first.comparisons > 1 else ""
    console.print(
        Text(
            f"{metric_facts(first.metric).title}, two-sided tests at 5 %{many}; this run has "
            f"{plural(first.design.patients, 'patient')}, {plural(first.design.folds, 'fold')} and "
            f"{plural(first.design.seeds, 'seed')}. {RANGES}"
        )
    )
    for entry in analyses:
        console.print(Text(f"\n{entry.loss} against {entry.baseline}", style="bold"))
        for sentence in power_sentences(entry):
            console.print(Text(f"  {sentence}"))
