"""From the values of many cases to one line of a table; each mean comes with its number of cases."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.metrics.case import Case, CaseStatus
from lesionloss.metrics.metric_registry import ChosenMetric


@dataclass(frozen=True)
class MetricValue:
    """One metric of one case.

    Args:
        raw: The value; NaN where it is undefined, infinite for a distance to nothing.
        penalised: The same, with the worst value for a missed case.
        status: Which mask was empty to the metric.
        headline: Whether the case belongs in the mean over defined cases (`ChosenMetric.in_headline`).
    """

    raw: float
    penalised: float
    status: CaseStatus
    headline: bool


@dataclass(frozen=True)
class MetricSummary:
    """One metric over `n` cases.

    Quartiles and mean are over the `n_defined` headline cases with a finite value, `penalised_mean` over
    `n_penalised` cases. The last three count cases with an empty mask, see `CaseCounts`.
    """

    n: int
    n_defined: int
    median: float
    lower_quartile: float
    upper_quartile: float
    mean: float
    penalised_mean: float
    n_penalised: int
    missed_cases: int
    false_positive_cases: int
    correctly_empty_cases: int


@dataclass(frozen=True)
class CaseCounts:
    """Cases with an empty mask, of `n`.

    Args:
        n: All cases.
        missed: Nothing is predicted, although there are lesions.
        false_positive: Something is predicted, although there is no lesion.
        correctly_empty: Nothing is predicted, and there is no lesion.
    """

    n: int
    missed: int
    false_positive: int
    correctly_empty: int

    @property
    def without_lesion(self) -> int:
        """Cases without a lesion in the reference."""
        return self.false_positive + self.correctly_empty

    @property
    def specificity(self) -> float:
        """Share of the cases without a lesion in which nothing is predicted; NaN if every case has a lesion."""
        return self.correctly_empty / self.without_lesion if self.without_lesion else math.nan


def count_cases(statuses: Sequence[CaseStatus]) -> CaseCounts:
    """Count the cases with an empty mask."""
    kinds = (CaseStatus.PRED_EMPTY, CaseStatus.REF_EMPTY, CaseStatus.BOTH_EMPTY)
    return CaseCounts(len(statuses), *(statuses.count(kind) for kind in kinds))


def value_of(chosen: ChosenMetric, case: Case) -> MetricValue:
    """One metric on one case, raw and penalised."""
    raw, status = chosen.value(case), chosen.status(case)
    return MetricValue(raw, chosen.penalised(raw, case), status, chosen.in_headline(raw, status))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def summarise(values: Sequence[MetricValue]) -> MetricSummary:
    """Summarise one metric over all cases; NaN where it is defined in none."""
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
        false_positive_cases=statuses.count(CaseStatus.REF_EMPTY),
        correctly_empty_cases=statuses.count(CaseStatus.BOTH_EMPTY),
    )
