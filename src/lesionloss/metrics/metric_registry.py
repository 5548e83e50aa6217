"""The registry of metrics: what each one is, its source, and its raw value where a mask is empty.

A metric is a small function of a Case with options that have defaults. `"nsd(tolerance_mm=2)"` chooses one with an
option, in `score`, on the command line and in tables alike. `both_empty` is an option of every score that is undefined
where both masks are empty: `"dice(both_empty=1)"`.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.call_text import parse_call
from lesionloss.core.catalogue import Catalogue, defined_again
from lesionloss.core.errors import UsageError, expect_type
from lesionloss.core.user_files import note_registration
from lesionloss.metrics.case import Case, CaseStatus
from lesionloss.metrics.metric_options import Option, checked_options

StatusOf = Callable[[Case, Mapping[str, Option]], CaseStatus]
Function = Callable[..., float]
NAN, INF = math.nan, math.inf


class Better(StrEnum):
    """Which values of a metric are better; `none` for descriptions such as a volume."""

    HIGHER = "higher"
    LOWER = "lower"
    NEARER_ZERO = "nearer_zero"
    NONE = "none"


class RequiredMap(StrEnum):
    """A map that a metric needs beside the two masks."""

    PROBABILITY = "probability"
    BRAIN = "brain"


@dataclass(frozen=True)
class EmptyValues:
    """Raw values where only the prediction, only the reference, or both are empty; None: the function's own value."""

    pred: float | None
    ref: float | None
    both: float | None

    def value(self, status: CaseStatus) -> float | None:
        """The fixed value for a status; None where the function is called."""
        table = {CaseStatus.PRED_EMPTY: self.pred, CaseStatus.REF_EMPTY: self.ref, CaseStatus.BOTH_EMPTY: self.both}
        return table.get(status)


COMPUTED = EmptyValues(None, None, None)
SHARE, NOT_NEGATIVE = (0.0, 1.0), (0.0, INF)  # limits of values


def status_of_masks(case: Case, options: Mapping[str, Option]) -> CaseStatus:
    """Which mask holds no voxel."""
    return case.status


@dataclass(frozen=True)
class Metric:
    """A named metric.

    `short_title`: its name in tables and charts. `worst`: the value of a missed case in the penalised column, or None
    if it has no worst value; `status`: which mask is empty to this metric (for metrics of lesions, one without a
    lesion).
    """

    name: str
    title: str
    short_title: str
    unit: str
    direction: Better
    source: str
    empty: EmptyValues
    worst: Callable[[Case], float] | None
    needs: frozenset[RequiredMap]
    options: dict[str, Option]
    status: StatusOf
    limits: tuple[float, float]
    function: Function

    @property
    def can_count_empty(self) -> bool:
        """Whether `both_empty` may be given: for scores that are undefined where both masks are empty."""
        both = self.empty.both
        return self.direction is Better.HIGHER and both is not None and math.isnan(both)


@dataclass(frozen=True)
class ChosenMetric:
    """A metric with all its options, as a text names it. `empty`: its table, with `both_empty` if that was given."""

    text: str
    metric: Metric
    options: dict[str, Option]
    empty: EmptyValues

    def status(self, case: Case) -> CaseStatus:
        """Which mask is empty to this metric."""
        return self.metric.status(case, self.options)

    def in_headline(self, value: float, status: CaseStatus) -> bool:
        """Whether a raw value belongs in the mean over defined cases.

        A fixed value of a case without a lesion does not (Dice 0 for one false positive tells nothing about overlap),
        unless it was given by `both_empty`.
        """
        fixed = self.empty.value(status) is not None
        given = status is CaseStatus.BOTH_EMPTY and self.empty != self.metric.empty
        without_lesion = status in (CaseStatus.REF_EMPTY, CaseStatus.BOTH_EMPTY)
        return math.isfinite(value) and (given or not (fixed and without_lesion))

    @property
    def short_title(self) -> str:
        """The metric's name in tables and charts, with the options that the text gave."""
        return f"{self.metric.short_title} {self.text.strip().removeprefix(self.metric.name)}".rstrip()

    @property
    def unit(self) -> str:
        """The unit of the values: that of the metric, or voxels where its option says so."""
        return "voxels" if self.options.get("voxels") else self.metric.unit

    def value(self, case: Case) -> float:
        """The raw value.

        Raises:
            UsageError: if the case lacks a map that the metric needs.
        """
        held = {RequiredMap.PROBABILITY: case.probability, RequiredMap.BRAIN: case.brain}
        for need in sorted(self.metric.needs):
            if held[need] is None:
                raise UsageError(f"metric {self.text!r} needs a {need} map, and this case has none; pass one to Case")
        fixed = self.empty.value(self.status(case))
        return float(self.metric.function(case, **self.options)) if fixed is None else fixed

    def penalised(self, value: float, case: Case) -> float:
        """The value, or the worst one for a missed case; NaN stays where there is no lesion."""
        worst = self.metric.worst
        missed = math.isinf(value) or (math.isnan(value) and self.status(case) is CaseStatus.PRED_EMPTY)
        return worst(case.in_voxels if self.unit == "voxels" else case) if missed and worst is not None else value


_CATALOGUE: Catalogue[Metric] = Catalogue("metric")


def diagonal_mm(case: Case) -> float:
    """The worst distance: the diagonal of the image, as in the BraTS challenges."""
    return case.diagonal_mm


def zero(case: Case) -> float:
    """The worst share or score."""
    return 0.0


def metric(
    name: str,
    *,
    title: str,
    unit: str,
    direction: Better,
    source: str,
    empty: EmptyValues,
    short_title: str = "",
    worst: Callable[[Case], float] | None = None,
    needs: Sequence[RequiredMap] = (),
    status: StatusOf = status_of_masks,
    limits: tuple[float, float] = (-INF, INF),
) -> Callable[[Function], Function]:
    """Register a function of a Case as a metric. Its further parameters are options and need defaults.

    Args:
        name: By which it is chosen.
        title: What it is, in one line.
        unit: `mm`, `mm3` and so on; empty for none.
        direction: Which values are better.
        source: Paper or program.
        empty: Raw values for empty masks.
        short_title: Its name in tables and charts; `title` if empty.
        worst: The penalised value of a missed case; None if there is no worst value.
        needs: Maps that a case must have.
        status: Which mask is empty to this metric.
        limits: The lowest and the highest possible value.

    Raises:
        UsageError: if the name is taken or an option has no default.
    """

    def register(function: Function) -> Function:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        for parameter in parameters:
            if parameter.default is parameter.empty:
                raise UsageError(f"metric {name!r}: option {parameter.name!r} has no default; give it one")
        options = {parameter.name: parameter.default for parameter in parameters}
        needed = frozenset(needs)
        record = Metric(
            name=name,
            title=title,
            short_title=short_title or title,
            unit=unit,
            direction=direction,
            source=source,
            empty=empty,
            worst=worst,
            needs=needed,
            options=options,
            status=status,
            limits=limits,
            function=function,
        )
        again = name in _CATALOGUE and defined_again(function, _CATALOGUE.get(name).function)
        _CATALOGUE.add(name, record, again=again)
        note_registration(_CATALOGUE, name, function)
        return function

    return register


def list_metrics() -> list[Metric]:
    """All registered metrics, in the order of their registration."""
    return list(_CATALOGUE)


def choose(text: str) -> ChosenMetric:
    """Choose a metric by its name, with options or without: "dice", "nsd(tolerance_mm=2)".

    Raises:
        UsageError: for an unknown name or option, with the nearest known one, and for a value out of its range.
    """
    name, values = parse_call(text, "metric")
    record = _CATALOGUE.get(name)
    known = record.options | ({"both_empty": record.empty.both} if record.can_count_empty else {})
    given = checked_options(name, known, values)
    both = given.pop("both_empty", None)
    empty = record.empty if both is None else replace(record.empty, both=float(both))
    return ChosenMetric(text, record, {**record.options, **given}, empty)


def score(case: Case, names: Sequence[str]) -> dict[str, float]:
    """Score one case.

    Args:
        case: Prediction and reference.
        names: Metrics, with options or without: ["dice", "nsd(tolerance_mm=2)"].

    Returns:
        The raw value of each metric; `Case.status` says which mask was empty.

    Raises:
        UsageError: for an unknown metric, an argument of another type, and if the case lacks a map that a metric needs.
    """
    expect_type(case, Case, "case", "pass a Case(prediction, reference, spacing_mm=...)")
    if isinstance(names, str):
        raise UsageError(f"expected a list of metric names, got the text {names!r}; write [{names!r}]")
    expect_type(names, Iterable, "names", 'pass a list of metrics, such as ["dice", "hd95"]')
    return {text: choose(text).value(case) for text in names}


@with_checked_types
def penalised(name: str, value: float, case: Case) -> float:
    """A raw value, or the worst one for a missed case: the image diagonal in mm for distances, 0 for scores.

    NaN stays NaN where both masks are empty.

    Raises:
        UsageError: for an unknown metric.
    """
    return choose(name).penalised(value, case)


def forget(name: str) -> None:
    """Remove a metric from the registry (for notebooks that define one again)."""
    _CATALOGUE.get(name)
    _CATALOGUE.remove(name)
