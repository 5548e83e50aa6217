"""From raw values of many cases to one line of a table; no mean leaves without its n."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.metrics.case import Case, CaseStatus
from lesionloss.metrics.metric_registry import ChosenMetric


@dataclass(frozen=True)
class MetricValue:
    """One metric on one case: the raw value, the same with a miss counted as the worst, which mask was empty to the
    metric, and whether the case belongs in the mean over defined cases (`ChosenMetric.in_headline`)."""

    raw: float
    penalised: float
    status: CaseStatus
    headline: bool


@dataclass(frozen=True)
class MetricSummary:
    """One metric over `n` cases: quartiles and mean over the `n_defined` headline cases with a finite value, the mean
    of the penalised values over its own n, and the cases with an empty mask."""

    n: int
    n_defined: int
    median: float
    lower_quartile: float
    upper_quartile: float
    mean: float
    penalised_mean: float
    n_penalised: int
    missed_cases: int
    false_alarm_cases: int
    empty_cases: int


@dataclass(frozen=True)
class CaseCounts:
    """Of `n` cases: missed (nothing predicted), false alarms (nothing there), rightly empty. `specificity`: the share
    of the cases without a lesion in which nothing is predicted; NaN if every case has one."""

    n: int
    missed: int
    false_alarms: int
    rightly_empty: int

    @property
    def specificity(self) -> float:
        healthy = self.false_alarms + self.rightly_empty
        return self.rightly_empty / healthy if healthy else math.nan


def count_cases(statuses: Sequence[CaseStatus]) -> CaseCounts:
    """How many cases have which mask empty."""
    kinds = (CaseStatus.PRED_EMPTY, CaseStatus.REF_EMPTY, CaseStatus.BOTH_EMPTY)
    return CaseCounts(len(statuses), *(statuses.count(kind) for kind in kinds))


def value_of(chosen: ChosenMetric, case: Case) -> MetricValue:
    """One metric on one case, raw and penalised."""
    raw, status = chosen.value(case), chosen.status(case)
    return MetricValue(raw, chosen.penalised(raw, case), status, chosen.in_headline(raw, status))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def summarise(values: Sequence[MetricValue]) -> MetricSummary:
    """The line of one metric; NaN where nothing is defined."""
    defined = [value.raw for value in values if value.headline]
    penalised = [value.penalised for value in values if math.isfinite(value.penalised)]
    lower, median, upper = np.percentile(defined, [25, 50, 75]) if defined else (math.nan,) * 3
    statuses = [value.status for value in values]
    return MetricSummary(
        n=len(values),
        n_defined=len(defined),
        median=float(median),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        mean=_mean(defined),
        penalised_mean=_mean(penalised),
        n_penalised=len(penalised),
        missed_cases=statuses.count(CaseStatus.PRED_EMPTY),
        false_alarm_cases=statuses.count(CaseStatus.REF_EMPTY),
        empty_cases=statuses.count(CaseStatus.BOTH_EMPTY),
    )
