"""The main table of the page: one row per loss, one cell per metric.

What is the same almost everywhere is said once, below the table, and in a cell only where it differs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from lesionloss.core.number_text import decimals_for, number, unit_text
from lesionloss.report.forest_chart import VERDICT_MARKS
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.number_html import NumberText, bounds, number_text, part_of
from lesionloss.report.report_content import MetricResult
from lesionloss.statistics import LossSummary

Value = TypeVar("Value", int, tuple[int, int])


@dataclass(frozen=True)
class ScoreCell:
    """One loss in one metric; `mark` is the verdict: ▲ better, ▼ worse, ≈ equivalent; `sort` is the raw mean.

    `other_n`: whether fewer or more patients have a value than in most cells of the table.
    """

    metric: str
    sort: str
    mean: NumberText
    interval: Markup
    n: Markup
    other_n: bool
    penalised: NumberText | None
    seed_sd: NumberText | None
    mark: str
    best: bool


@dataclass(frozen=True)
class LossRow:
    """One loss in the main table; `apart`: what went wrong with it and not with most losses, in words."""

    loss: str
    colour: str
    baseline: bool
    trials: Markup
    incomplete: bool
    failures: Markup
    empty: Markup
    any_empty: bool
    apart: tuple[Markup, ...]
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
    usual, misses = usual_patients(metrics), [_misses(summary) for summary in first.summaries]
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
            apart=_apart(summary, misses, f"{path}.0.summaries.{index}"),
            cells=tuple(_cell(metric, f"{path}.{place}", index, usual) for place, metric in enumerate(metrics)),
        )
        for index, summary in enumerate(first.summaries)
    ]


def usual_patients(metrics: Sequence[MetricResult]) -> tuple[int, int]:
    """Patients with a value, and patients, in most cells of the table."""
    return _usual([(s.patients_defined, s.patients) for m in metrics for s in m.comparison.summaries])


def _usual(values: Sequence[Value]) -> Value:
    """The most frequent value; the smallest of equally frequent ones."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _misses(summary: LossSummary) -> tuple[int, int, int]:
    """Failed patients, empty predictions, trials that did not end well."""
    return summary.failures, summary.empty_predictions, summary.planned - summary.trials


def _apart(summary: LossSummary, every: Sequence[tuple[int, int, int]], path: str) -> tuple[Markup, ...]:
    words = (
        ("failures", "patients", "patients failed"),
        ("empty_predictions", "predictions", "predictions empty"),
        ("trials", "planned", "trials"),
    )
    found = []
    for place, (some, of, what) in enumerate(words):
        if _misses(summary)[place] not in (0, _usual([misses[place] for misses in every])):
            counts = part_of(getattr(summary, some), getattr(summary, of), path, some, of)
            found.append(Markup("{} {}").format(counts, what))
    return tuple(found)


def _cell(metric: MetricResult, place: str, index: int, usual: tuple[int, int]) -> ScoreCell:
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
        other_n=(summary.patients_defined, summary.patients) != usual,
        penalised=None if penalised is None else number_text(penalised, f"{path}.penalised_mean", decimals),
        seed_sd=None if summary.seed_sd is None else _spread(summary.seed_sd, f"{path}.seed_sd", decimals),
        mark=VERDICT_MARKS.get(verdict, ""),
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
