"""Evaluate files: read those of a case, check that they lie on one grid, and score them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lesionloss.core.errors import DataError
from lesionloss.metrics.averages import MetricSummary, MetricValue, summarise, value_of
from lesionloss.metrics.case import Case, CaseStatus
from lesionloss.metrics.file_matching import CaseFiles
from lesionloss.metrics.lesion_table import LesionRow, lesion_table
from lesionloss.metrics.metric_registry import Better, ChosenMetric, RequiredMap, choose, list_metrics
from lesionloss.metrics.several_classes import class_cases, mean_of_defined
from lesionloss.metrics.thresholds import ThresholdCounts, count_thresholds

if TYPE_CHECKING:
    from lesionloss.data.volume import Volume

Outcome = TypeVar("Outcome")

# The "class" of the rows that hold means over classes.
MEAN = "mean"

# At most so many unreadable cases are named.
SHOWN = 10


@dataclass(frozen=True)
class EvaluationRequest:
    """What to compute of each case.

    Args:
        names: Metrics, with their options.
        threshold: For probability maps (those in "probabilities", or else the predictions): a voxel is lesion where
            its probability is at least this. None: the predictions are masks.
        classes: For label maps: each of these labels is scored, and the mean over several. Empty: masks.
        lesions: Whether each lesion gets rows of its own.
    """

    names: tuple[str, ...]
    threshold: float | None = None
    classes: tuple[int, ...] = ()
    lesions: bool = False


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


def _beside(beside: Mapping[str, Path], reference: "Volume[Any]") -> dict[str, Any]:
    """The arrays beside the masks, as arguments of Case."""
    from lesionloss.data.nifti import read_mask, read_probability
    from lesionloss.data.volume import same_grid

    arrays: dict[str, Any] = {}
    for kind, path in beside.items():
        volume = read_probability(path) if kind == "probabilities" else read_mask(path)
        same_grid(volume, reference)
        arrays["probability" if kind == "probabilities" else kind] = volume.array
    return arrays


def slow_modules(request: EvaluationRequest) -> list[str]:
    """What the metrics of a request import that takes seconds: MONAI, for the areas of surface elements."""
    return ["monai.metrics.utils"] if any("surfel" in text for text in request.names) else []


def _predicted_mask(path: Path) -> "Volume[Any]":
    """A mask; a map in its place gets the advice that helps here."""
    from lesionloss.data.nifti import read_mask, read_probability

    try:
        return read_mask(path)
    except DataError as as_mask:
        try:
            read_probability(path)
        except DataError:
            raise as_mask from None
        raise DataError(
            f"{path}: not a mask of 0 and 1, these look like probabilities; add --threshold 0.5, or give masks as "
            "predictions and these as --probabilities"
        ) from None


def read_case(files: CaseFiles, threshold: float | None) -> Case:
    """Read a case of two masks, or of a probability map and a mask.

    Raises:
        DataError: for a file that is invalid or lies on another grid.
    """
    from lesionloss.data.nifti import read_mask, read_probability
    from lesionloss.data.volume import same_grid

    reference, beside = read_mask(files.reference), dict(files.beside)
    if threshold is None:
        prediction: Volume[Any] = _predicted_mask(files.prediction)
    else:
        prediction = read_probability(beside.pop("probabilities", files.prediction))
    same_grid(prediction, reference)
    level = 0.5 if threshold is None else threshold
    arrays = _beside(beside, reference)
    return Case(prediction.array, reference.array, spacing_mm=reference.spacing_mm, threshold=level, **arrays)


def read_classes(files: CaseFiles, classes: Sequence[int]) -> dict[str, Case]:
    """Read a case of two label maps, as one for each label.

    Raises:
        DataError: as `read_case`.
    """
    from lesionloss.data.nifti import read_labels
    from lesionloss.data.volume import same_grid

    prediction, reference = read_labels(files.prediction), read_labels(files.reference)
    same_grid(prediction, reference)
    ignore = _beside(files.beside, reference).get("ignore")
    spacing = reference.spacing_mm
    cases = class_cases(prediction.array, reference.array, spacing_mm=spacing, classes=classes, ignore=ignore)
    return {str(label): case for label, case in cases.items()}


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


def _mean_rows(name: str, cases: Mapping[str, Case], chosen: Sequence[ChosenMetric]) -> Iterator[ScoreRow]:
    """Means over the classes in which a metric is defined, penalised in each class; not of descriptions (volumes)."""
    statuses = {case.status for case in cases.values()}
    status = statuses.pop() if len(statuses) == 1 else CaseStatus.OK
    for each in chosen:
        if each.metric.direction is not Better.NONE:
            values = [value_of(each, case) for case in cases.values()]
            raw, penalised = (
                mean_of_defined([getattr(v, kind) for v in values]).value for kind in ("raw", "penalised")
            )
            yield ScoreRow(
                name, MEAN, each.text, each.metric.unit, MetricValue(raw, penalised, status, math.isfinite(raw))
            )


def evaluate_case(files: CaseFiles, request: EvaluationRequest) -> CaseScores:
    """Score one case.

    Raises:
        DataError: as `read_case`; it names the file.
    """
    cases = read_classes(files, request.classes) if request.classes else {"": read_case(files, request.threshold)}
    chosen = [choose(text) for text in request.names]
    rows = [
        ScoreRow(files.name, label, each.text, each.metric.unit, value_of(each, case))
        for label, case in cases.items()
        for each in chosen
    ]
    if len(cases) > 1:
        rows += _mean_rows(files.name, cases, chosen)
    tables = {label: lesion_table(case) for label, case in cases.items()} if request.lesions else {}
    for label, table in tables.items():
        rows += _lesion_rows(files.name, label, table)
    return CaseScores(rows, {label: case.status for label, case in cases.items()}, tables)


def count_case(files: CaseFiles, thresholds: tuple[float, ...]) -> ThresholdCounts:
    """Counts of one case at all thresholds; the map is that in "probabilities" if given, or else the prediction.

    Raises:
        DataError: as `read_case`.
    """
    from lesionloss.data.nifti import read_mask, read_probability
    from lesionloss.data.volume import same_grid

    reference = read_mask(files.reference)
    probability = read_probability(files.beside.get("probabilities", files.prediction))
    same_grid(probability, reference)
    ignore = _beside(files.beside, reference).get("ignore")
    return count_thresholds(probability.array, reference.array, thresholds, ignore=ignore)


def _guarded(task: tuple[Callable[[CaseFiles, Any], Outcome], CaseFiles, Any]) -> Outcome | str:
    """The result for one case, or the error in its files as text, so that those of other cases are found too."""
    work, files, argument = task
    try:
        return work(files, argument)
    except DataError as error:
        return str(error)


def _processes(shared: Sequence[str]) -> BaseContext:
    """Processes that share modules imported once, where the system has them."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(shared))
    return context


def for_each_case(
    work: Callable[[CaseFiles, Any], Outcome],
    cases: Sequence[CaseFiles],
    argument: Any,
    *,
    jobs: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    shared: Sequence[str] = (),
) -> list[Outcome]:
    """Call `work(files, argument)` for every case.

    Args:
        work: A function at the top of a module.
        cases: Files of each case.
        argument: The same for all cases.
        jobs: Number of processes.
        progress: Wraps the iterator over the results.
        shared: Slow modules that are imported once for all processes.

    Returns:
        The results in the order of the cases.

    Raises:
        DataError: with all problems, if a case can't be read. There are no results without it: their mean would be
            over other cases.
    """
    tasks = [(work, files, argument) for files in cases]
    workers = min(jobs, len(tasks))
    if workers <= 1:
        outcomes = list(progress(map(_guarded, tasks)))
    else:
        try:
            with ProcessPoolExecutor(workers, mp_context=_processes(shared)) as pool:
                outcomes = list(progress(pool.map(_guarded, tasks)))
        except BrokenProcessPool as error:
            raise DataError(
                f"one of {workers} processes was killed, most likely because memory ran out; "
                "try fewer at a time with --jobs 1"
            ) from error
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError("\n".join([f"{len(problems)} of {len(tasks)} cases can't be read:", *problems[:SHOWN], *more]))
    return [outcome for outcome in outcomes if not isinstance(outcome, str)]


def summaries(rows: Iterable[ScoreRow]) -> dict[tuple[str, str], MetricSummary]:
    """Summarise each class and metric, in the order of the rows; those of lesions are left out."""
    grouped: dict[tuple[str, str], list[MetricValue]] = {}
    for row in rows:
        if not row.lesion:
            grouped.setdefault((row.label, row.metric), []).append(row.value)
    return {key: summarise(values) for key, values in grouped.items()}
