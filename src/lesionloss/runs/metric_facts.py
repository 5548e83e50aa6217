"""The facts of a metric that statistics and report need, from the registry of metrics."""

import math
from dataclasses import dataclass

from lesionloss.core.errors import UsageError


@dataclass(frozen=True)
class MetricFacts:
    """How the values of a metric are read.

    `needs_lesions`: it has no value where the reference is empty. `signed`: nearer to zero is better, so its absolute
    values are compared. `has_direction`: False for descriptions such as a volume, of which no value is better.
    `zero_if_empty`: an empty prediction gets 0 where the metric itself is undefined. `limits`: the lowest and the
    highest value that is possible.
    """

    name: str
    title: str
    lower_is_better: bool
    needs_lesions: bool = True
    signed: bool = False
    has_direction: bool = True
    zero_if_empty: bool = False
    unit: str = ""
    limits: tuple[float, float] = (-math.inf, math.inf)

    def possible(self, value: float) -> bool:
        """Whether a score can have this value, or none (NaN)."""
        return not (value < self.limits[0] or value > self.limits[1])

    def badness(self, value: float) -> float:
        """A number that is larger for a worse value."""
        return abs(value) if self.signed else value if self.lower_is_better else -value

    @property
    def direction(self) -> str:
        """`higher`, `lower` or `nearer 0`."""
        return "nearer 0" if self.signed else "lower" if self.lower_is_better else "higher"


def metric_facts(metric: str) -> MetricFacts:
    """The facts of `metric`. An unknown metric is read as a score of which higher values are better."""
    from lesionloss.metrics import Better, choose

    try:
        chosen = choose(metric)
    except UsageError:
        return MetricFacts(metric, metric.replace("_", " "), lower_is_better=False)
    record = chosen.metric
    return MetricFacts(
        name=metric,
        title=chosen.short_title,
        lower_is_better=record.direction in (Better.LOWER, Better.NEARER_ZERO),
        needs_lesions=record.empty.both is not None,
        signed=record.direction is Better.NEARER_ZERO,
        has_direction=record.direction is not Better.NONE,
        zero_if_empty=record.direction is Better.HIGHER and record.worst is not None,
        unit=record.unit,
        limits=record.limits,
    )
