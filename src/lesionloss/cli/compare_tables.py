"""What `lesionloss compare` prints: two sentences, three tables, and one sentence on each loss."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lesionloss.answer import answer
from lesionloss.bench.values import facts
from lesionloss.wording import (
    TEST_TITLES,
    components_sentence,
    decimals_for,
    interval,
    number,
    percent,
    plural,
    probability,
    unit_text,
)

if TYPE_CHECKING:
    from lesionloss.bench.results import Results
    from lesionloss.statistics import Comparison


def print_comparison(results: "Results", comparison: "Comparison", *, unpaired: bool) -> None:
    """The answer first, then what it rests on, then what failed."""
    console = Console()
    console.print()
    for sentence in answer(comparison, primary=comparison.metric == results.primary_metric):
        console.print(Text(sentence))
    console.print()
    console.print(_means(comparison))
    console.print(_differences(comparison, unpaired=unpaired))
    for difference in comparison.differences:
        console.print(Text(f"{difference.loss}: {difference.sentence}"))
    if comparison.ranks:
        console.print()
        console.print(_ranks(comparison))
    if sources := components_sentence(comparison.components):
        console.print(Text(sources))
    for line in _cautions(results, comparison):
        console.print(Text(line, style="bold yellow"))


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _means(comparison: "Comparison") -> Table:
    rows = comparison.summaries
    decimals = decimals_for(row.mean for row in rows)
    charged = any(row.penalised_mean != row.mean for row in rows)
    unit = f" in {unit_text(comparison.unit)}" if comparison.unit else ""
    direction = "lower" if comparison.lower_is_better else "higher"
    headings = ["mean", "95 % interval", "median", "quartiles", "CV", "patients", "misses", "seed sd", "trials"]
    title = f"{facts(comparison.metric).title}{unit} ({direction} is better)"
    table = _table(title, [*headings, *(["mean, misses charged"] if charged else [])])
    for row in rows:
        cells = [
            row.loss + (" (baseline)" if row.loss == comparison.baseline else ""),
            number(row.mean, decimals),
            interval(row.interval, decimals),
            number(row.median, decimals),
            interval(row.quartiles, decimals).strip("[]").replace(", ", " to "),
            number(row.coefficient_of_variation, 2),
            f"{row.patients_defined} of {row.patients}",
            f"{row.misses} of {row.predictions}",
            number(row.seed_sd, decimals),
            f"{row.trials} of {row.planned}",
            *([number(row.penalised_mean, decimals)] if charged else []),
        ]
        table.add_row(*map(Text, cells))
    return table


def _differences(comparison: "Comparison", *, unpaired: bool) -> Table:
    rows = comparison.differences
    decimals = decimals_for(row.mean for row in rows)
    test = TEST_TITLES[rows[0].test] if rows else ""
    headings = [
        "mean",
        "95 %, these trainings",
        "95 %, new trainings",
        "better in",
        "effect r",
        "p (Holm)",
        "paired by",
    ]
    title = f"Difference from {comparison.baseline}, patient by patient" + (f" (p: two-sided {test})" if test else "")
    table = _table(title, [*headings, *(["p, unpaired rank-sum"] if unpaired else [])])
    for row in rows:
        cells = [
            row.loss,
            number(row.mean, decimals, sign=True),
            interval(row.interval, decimals, sign=True),
            interval(row.interval_trainings, decimals, sign=True) or "unknown",
            f"{row.improved} of {row.patients}",
            number(row.rank_biserial, 2, sign=True),
            probability(row.p_holm),
            row.pairing,
            *([probability(row.p_rank_sum)] if unpaired else []),
        ]
        table.add_row(*map(Text, cells))
    return table


def _ranks(comparison: "Comparison") -> Table:
    wins = dict(comparison.luck.winners) if comparison.luck else {}
    title = f"Rank over {plural(comparison.ranks[0].patients, 'patient')}, and when patients and seeds are drawn again"
    headings = ["rank", "95 % of ranks", "first in", *(["first with one seed in"] if wins else [])]
    table = _table(title, headings)
    for row in sorted(comparison.ranks, key=lambda entry: entry.rank):
        cells = [row.loss, str(row.rank), f"{row.low} to {row.high}", percent(row.best)]
        table.add_row(*map(Text, [*cells, *([percent(wins.get(row.loss))] if wins else [])]))
    return table


def _cautions(results: "Results", comparison: "Comparison") -> list[str]:
    lines = [f"Caution: {warning}." for warning in comparison.warnings]
    if comparison.empty_references:
        counts = [f"{empty.loss} {empty.correct_empty} of {empty.predictions}" for empty in comparison.empty_references]
        cases = plural(max(empty.cases for empty in comparison.empty_references), "case")
        lines.append(f"Without lesions in the reference, {cases}: predictions that stayed empty: {'; '.join(counts)}")
    lines += [f"FAILED: {trial.loss}, fold {trial.fold}, seed {trial.seed}: {trial.reason}" for trial in results.failed]
    if results.missing:
        names = sorted({trial.loss for trial in results.missing})
        lines.append(f"MISSING: {plural(len(results.missing), 'trial')} of the plan not run yet ({', '.join(names)})")
    return lines
