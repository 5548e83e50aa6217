"""Intervals as they are shown: cut at the lowest and the highest value that a metric can have.

Only Student's interval, of fewer than six patients, can reach beyond them.
"""

from dataclasses import fields, replace
from typing import Any, TypeVar

from lesionloss.runs.metric_facts import MetricFacts
from lesionloss.statistics import Comparison, Interval, LossSummary, PairedDifference

Record = TypeVar("Record", LossSummary, PairedDifference)
CUT_WORDS = "Intervals are cut at the lowest and the highest value that the metric can have."


def within(interval: Interval | None, limits: tuple[float, float]) -> Interval | None:
    """The interval, cut at the limits."""
    if interval is None or limits[0] <= interval.low <= interval.high <= limits[1]:
        return interval
    return Interval(max(interval.low, limits[0]), min(interval.high, limits[1]))


def within_limits(comparison: Comparison, facts: MetricFacts) -> Comparison:
    """The comparison with the intervals of means and differences cut at the limits of the metric."""
    low, high = facts.limits
    if facts.signed:  # absolute values are compared
        low, high = max(low, 0.0), max(-low, high)
    widest = (low - high, high - low)
    return replace(
        comparison,
        summaries=tuple(_cut(summary, facts.limits) for summary in comparison.summaries),
        differences=tuple(_cut(difference, widest) for difference in comparison.differences),
    )


def _cut(record: Record, limits: tuple[float, float]) -> Record:
    values: dict[str, Any] = {each.name: getattr(record, each.name) for each in fields(record)}
    cut: dict[str, Any] = {name: within(x, limits) for name, x in values.items() if isinstance(x, Interval)}
    return replace(record, **cut)
