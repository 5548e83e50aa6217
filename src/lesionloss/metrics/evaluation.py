"""Score the files of a case, and summarise the scores of all."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lesionloss.metrics.averages import MetricSummary, MetricValue, summarise, value_of
from lesionloss.metrics.case import Case, CaseStatus
from lesionloss.metrics.case_from_files import read_case, read_classes
from lesionloss.metrics.file_matching import EvaluatedFiles
from lesionloss.metrics.lesion_table import LesionRow, lesion_table
from lesionloss.metrics.metric_registry import Better, ChosenMetric, RequiredMap, choose, list_metrics
from lesionloss.metrics.several_classes import mean_of_defined

# The "class" of the rows that hold means over classes.
MEAN = "mean"


@dataclass(frozen=True)
class EvaluationRequest:
    """What to compute of each case.

    Args:
        names: Metrics, with their options.
        threshold: For probability maps (those in "probabilities", or else the predictions): a voxel is lesion where
            its probability is at least this. None: the predictions are masks.
        classes: For label maps: each of these labels is scored, and the mean over several. Empty: masks.
        lesions: Whether each lesion gets rows of its own.
        weights: Of the classes in their mean, one each; empty: equal ones.
    """

    names: tuple[str, ...]
    threshold: float | None = None
    classes: tuple[int, ...] = ()
    lesions: bool = False
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class ScoreRow:
    """One metric of one case and class, or one fact of the lesion named in `lesion`."""

    case: str
    label: str
    metric: str
    unit: str
    value: MetricValue
    lesion: str = ""


@dataclass(frozen=True)
class CaseScores:
    """The rows of one case; by class its status and, where they are wanted, its lesions."""

    rows: list[ScoreRow]
    statuses: dict[str, CaseStatus]
    lesions: dict[str, list[LesionRow]]


def available(beside: Iterable[str], request_is_map: bool) -> list[str]:
    """Names of all metrics that can be computed with the files that are given beside the masks."""
    held = {RequiredMap.BRAIN} if "brain" in beside else set()
    held |= {RequiredMap.PROBABILITY} if request_is_map or "probabilities" in beside else set()
    return [record.name for record in list_metrics() if record.needs <= held]


def slow_modules(request: EvaluationRequest) -> list[str]:
    """What the metrics of a request import that takes seconds: MONAI, for the areas of surface elements."""
    return ["monai.metrics.utils"] if any("surfel" in text for text in request.names) else []


def _lesion_rows(name: str, label: str, table: Sequence[LesionRow]) -> Iterator[ScoreRow]:
    for lesion in table:
        side = "reference" if lesion.in_reference else "prediction"
        facts = (
            ("volume_mm3", "mm3", lesion.volume_mm3),
            ("found", "", float(lesion.found)),
            ("dice", "", lesion.dice),
        )
        for metric, unit, number in facts:
            value = MetricValue(number, number, CaseStatus.OK, False)
            yield ScoreRow(name, label, f"lesion_{metric}", unit, value, f"{side} {lesion.number}")


def _mean_rows(
    name: str, cases: Mapping[str, Case], chosen: Sequence[ChosenMetric], weights: Sequence[float]
) -> Iterator[ScoreRow]:
    """Means over the classes in which a metric is defined, penalised in each class; not of descriptions (volumes)."""
    statuses = {case.status for case in cases.values()}
    status = statuses.pop() if len(statuses) == 1 else CaseStatus.OK
    for each in chosen:
        if each.metric.direction is not Better.NONE:
            values = [value_of(each, case) for case in cases.values()]
            raw, penalised = (
                mean_of_defined([getattr(v, kind) for v in values], weights).value for kind in ("raw", "penalised")
            )
            yield ScoreRow(name, MEAN, each.text, each.unit, MetricValue(raw, penalised, status, math.isfinite(raw)))


def evaluate_case(files: EvaluatedFiles, request: EvaluationRequest) -> CaseScores:
    """Score one case.

    Raises:
        DataError: as `read_case`; it names the file.
    """
    cases = read_classes(files, request.classes) if request.classes else {"": read_case(files, request.threshold)}
    chosen = [choose(text) for text in request.names]
    rows = [
        ScoreRow(files.name, label, each.text, each.unit, value_of(each, case))
        for label, case in cases.items()
        for each in chosen
    ]
    if len(cases) > 1:
        rows += _mean_rows(files.name, cases, chosen, request.weights)
    tables = {label: lesion_table(case) for label, case in cases.items()} if request.lesions else {}
    for label, table in tables.items():
        rows += _lesion_rows(files.name, label, table)
    return CaseScores(rows, {label: case.status for label, case in cases.items()}, tables)


def summaries(rows: Iterable[ScoreRow]) -> dict[tuple[str, str], MetricSummary]:
    """Summarise each class and metric, in the order of the rows; those of lesions are left out."""
    grouped: dict[tuple[str, str], list[MetricValue]] = {}
    for row in rows:
        if not row.lesion:
            grouped.setdefault((row.label, row.metric), []).append(row.value)
    return {key: summarise(values) for key, values in grouped.items()}
