"""The main table of the page: one row per loss, one cell per metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.core.number_text import decimals_for, number, unit_text
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.number_html import NumberText, bounds, number_text, part_of
from lesionloss.report.report_content import MetricResult
from lesionloss.statistics import LossSummary

MARKS = {"better": "▲", "worse": "▼", "equivalent": "≈"}


@dataclass(frozen=True)
class ScoreCell:
    """One loss in one metric; `mark` is the verdict: ▲ better, ▼ worse, ≈ equivalent; `sort` is the raw mean."""

    metric: str
    sort: str
    mean: NumberText
    interval: Markup
    n: Markup
    penalised: NumberText | None
    seed_sd: NumberText | None
    mark: str
    best: bool


@dataclass(frozen=True)
class LossRow:
    """One loss in the main table."""

    loss: str
    colour: str
    baseline: bool
    trials: Markup
    incomplete: bool
    failures: Markup
    empty: Markup
    any_empty: bool
    cells: tuple[ScoreCell, ...]


def column(metric: MetricResult) -> tuple[str, str, str]:
    """Title, unit and direction of a column."""
    facts = metric.scores.facts
    return facts.title, unit_text(metric.comparison.unit), f"{facts.direction} is better" if facts.has_direction else ""


def loss_rows(metrics: Sequence[MetricResult], styles: Mapping[str, LossStyle], path: str = "metrics") -> list[LossRow]:
    """One row per loss, in the order of the plan; `path` is that of the metrics in report.json."""
    if not metrics:
        return []
    first = metrics[0].comparison
    return [
        LossRow(
            loss=summary.loss,
            colour=styles[summary.loss].colour,
            baseline=summary.loss == first.baseline,
            trials=part_of(summary.trials, summary.planned, f"{path}.0.summaries.{index}", "trials", "planned"),
            incomplete=summary.trials < summary.planned,
            failures=_failures(summary, f"{path}.0.summaries.{index}"),
            empty=part_of(
                summary.empty_predictions,
                summary.predictions,
                f"{path}.0.summaries.{index}",
                "empty_predictions",
                "predictions",
            ),
            any_empty=summary.empty_predictions > 0,
            cells=tuple(_cell(metric, f"{path}.{place}", index) for place, metric in enumerate(metrics)),
        )
        for index, summary in enumerate(first.summaries)
    ]


def _cell(metric: MetricResult, place: str, index: int) -> ScoreCell:
    comparison = metric.comparison
    summary = comparison.summaries[index]
    decimals = decimals_for(s.mean for s in comparison.summaries)
    verdict = next((d.verdict for d in comparison.differences if d.loss == summary.loss), "")
    path = f"{place}.summaries.{index}"
    penalised = None if summary.penalised_mean == summary.mean else summary.penalised_mean
    return ScoreCell(
        metric=comparison.metric,
        sort="" if summary.mean is None else repr(summary.mean),
        mean=number_text(summary.mean, f"{path}.mean", decimals),
        interval=bounds(summary.interval, f"{path}.interval", decimals),
        n=part_of(summary.patients_defined, summary.patients, path, "patients_defined", "patients"),
        penalised=None if penalised is None else number_text(penalised, f"{path}.penalised_mean", decimals),
        seed_sd=None if summary.seed_sd is None else _spread(summary.seed_sd, f"{path}.seed_sd", decimals),
        mark=MARKS.get(verdict, ""),
        best=summary.loss == metric.best,
    )


def _failures(summary: LossSummary, path: str) -> Markup:
    """Patients with a failed prediction, and the 95 % interval of their share."""
    counted = part_of(summary.failures, summary.patients, path, "failures", "patients")
    share = bounds(summary.failure_interval, f"{path}.failure_interval", 2)
    return Markup("{}<small>{}</small>").format(counted, share)


def _spread(seed_sd: float, path: str, decimals: int) -> NumberText:
    """With the decimals of the means, unless the spread would be printed as zero."""
    least = 10**-decimals
    return (
        NumberText(f"< {number(least, decimals)}", "")
        if 0 < seed_sd < least / 2
        else number_text(seed_sd, path, decimals)
    )
