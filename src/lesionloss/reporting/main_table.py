"""The main table of the page: one row per loss, one cell per metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lesionloss.bench.results import Results
from lesionloss.bench.values import facts
from lesionloss.reporting.palette import Style
from lesionloss.statistics import Comparison, best_loss
from lesionloss.wording import decimals_for, interval, number, unit_text


@dataclass(frozen=True)
class Cell:
    """One loss in one metric, as it is printed; `mark` is ▲ or ▼ where there is evidence against the baseline."""

    metric: str
    mean: str
    interval: str
    n: str
    charged: str
    seed_sd: str
    mark: str
    best: bool


@dataclass(frozen=True)
class Row:
    """One loss in the main table."""

    loss: str
    colour: str
    baseline: bool
    trials: str
    incomplete: bool
    misses: str
    missed: bool
    cells: tuple[Cell, ...]


def column(comparison: Comparison) -> tuple[str, str, str]:
    """Title, unit and which way is better."""
    known = facts(comparison.metric)
    way = f"{'nearer 0' if known.signed else 'lower' if known.lower_is_better else 'higher'} is better"
    return known.title, unit_text(comparison.unit), way if known.judges else ""


def rows(results: Results, comparisons: Sequence[Comparison], looks: Mapping[str, Style]) -> list[Row]:
    """One row per loss, in the order of the plan."""
    if not comparisons:
        return []
    best = {comparison.metric: best_loss(results, comparison.metric) for comparison in comparisons}
    first = comparisons[0]
    return [
        Row(
            loss=summary.loss,
            colour=looks[summary.loss].colour,
            baseline=summary.loss == first.baseline,
            trials=f"{summary.trials} of {summary.planned}",
            incomplete=summary.trials < summary.planned,
            misses=f"{summary.misses} of {summary.predictions}",
            missed=summary.misses > 0,
            cells=tuple(_cell(comparison, index, best[comparison.metric]) for comparison in comparisons),
        )
        for index, summary in enumerate(first.summaries)
    ]


def _cell(comparison: Comparison, index: int, best: str | None) -> Cell:
    summary = comparison.summaries[index]
    decimals = decimals_for(s.mean for s in comparison.summaries)
    evidence = next((d.evidence for d in comparison.differences if d.loss == summary.loss), None)
    return Cell(
        metric=comparison.metric,
        mean=number(summary.mean, decimals),
        interval=interval(summary.interval, decimals),
        n=f"n {summary.patients_defined} of {summary.patients}",
        charged="" if summary.penalised_mean == summary.mean else number(summary.penalised_mean, decimals),
        seed_sd="" if summary.seed_sd is None else number(summary.seed_sd, decimals),
        mark={"better": "▲", "worse": "▼", None: ""}[evidence],
        best=summary.loss == best,
    )
