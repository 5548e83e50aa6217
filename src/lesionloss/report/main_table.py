"""The main table of the page: one row per loss, one cell per metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.core.number_text import decimals_for, number, unit_text
from lesionloss.report.gather import MetricResult
from lesionloss.report.html_numbers import Shown, bounds, part_of, shown
from lesionloss.report.loss_styles import Style
from lesionloss.runs.values import facts
from lesionloss.statistics import Comparison


@dataclass(frozen=True)
class Cell:
    """One loss in one metric; `mark` is ▲ or ▼ where there is evidence against the baseline; `sort` is the raw mean."""

    metric: str
    sort: str
    mean: Shown
    interval: Markup
    n: Markup
    charged: Shown | None
    seed_sd: Shown | None
    mark: str
    best: bool


@dataclass(frozen=True)
class Row:
    """One loss in the main table."""

    loss: str
    colour: str
    baseline: bool
    trials: Markup
    incomplete: bool
    misses: Markup
    missed: bool
    cells: tuple[Cell, ...]


def column(comparison: Comparison) -> tuple[str, str, str]:
    """Title, unit and which way is better."""
    known = facts(comparison.metric)
    way = f"{'nearer 0' if known.signed else 'lower' if known.lower_is_better else 'higher'} is better"
    return known.title, unit_text(comparison.unit), way if known.judges else ""


def rows(metrics: Sequence[MetricResult], looks: Mapping[str, Style]) -> list[Row]:
    """One row per loss, in the order of the plan."""
    if not metrics:
        return []
    first = metrics[0].comparison
    return [
        Row(
            loss=summary.loss,
            colour=looks[summary.loss].colour,
            baseline=summary.loss == first.baseline,
            trials=part_of(summary.trials, summary.planned, f"metrics.0.summaries.{index}", "trials", "planned"),
            incomplete=summary.trials < summary.planned,
            misses=part_of(
                summary.misses, summary.predictions, f"metrics.0.summaries.{index}", "misses", "predictions"
            ),
            missed=summary.misses > 0,
            cells=tuple(_cell(metric, place, index) for place, metric in enumerate(metrics)),
        )
        for index, summary in enumerate(first.summaries)
    ]


def _cell(metric: MetricResult, place: int, index: int) -> Cell:
    comparison = metric.comparison
    summary = comparison.summaries[index]
    decimals = decimals_for(s.mean for s in comparison.summaries)
    evidence = next((d.evidence for d in comparison.differences if d.loss == summary.loss), None)
    path = f"metrics.{place}.summaries.{index}"
    charged = None if summary.penalised_mean == summary.mean else summary.penalised_mean
    return Cell(
        metric=comparison.metric,
        sort="" if summary.mean is None else repr(summary.mean),
        mean=shown(summary.mean, f"{path}.mean", decimals),
        interval=bounds(summary.interval, f"{path}.interval", decimals),
        n=part_of(summary.patients_defined, summary.patients, path, "patients_defined", "patients"),
        charged=None if charged is None else shown(charged, f"{path}.penalised_mean", decimals),
        seed_sd=None if summary.seed_sd is None else _spread(summary.seed_sd, f"{path}.seed_sd", decimals),
        mark={"better": "▲", "worse": "▼", None: ""}[evidence],
        best=summary.loss == metric.best,
    )


def _spread(seed_sd: float, path: str, decimals: int) -> Shown:
    """At the decimals of the means, unless that would print a spread as zero."""
    least = 10**-decimals
    return Shown(f"< {number(least, decimals)}", "") if 0 < seed_sd < least / 2 else shown(seed_sd, path, decimals)
