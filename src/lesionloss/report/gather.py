"""Everything that the page shows, gathered once from a run: the page and report.json are both written from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from lesionloss.core.number_text import plural
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.metrics.thresholds import CurvePoint, mean_curve
from lesionloss.report.answer import answer
from lesionloss.report.case_maps import Casework, work_through, worst_first
from lesionloss.report.class_means import ClassResult, class_results
from lesionloss.report.embedded_cases import embedded
from lesionloss.report.history import Band, Dead, dead_gradients, epoch_bands, loss_bands
from lesionloss.report.loss_cards import LossCard, loss_cards
from lesionloss.report.methods import methods, sources
from lesionloss.report.probability_maps import Calibration, calibration, over_thresholds
from lesionloss.report.workers import Help
from lesionloss.runs.results import DIFFERENCE_THRESHOLD, Results
from lesionloss.runs.values import facts, false_positive_mm3, headline_rows
from lesionloss.statistics import Comparison, best_loss, compare


@dataclass(frozen=True)
class MetricResult:
    """All that is known of one metric; `classes` is empty where there is but one."""

    comparison: Comparison
    title: str
    best: str | None
    classes: tuple[ClassResult, ...]


@dataclass(frozen=True)
class CaseRow:
    """A case in the list: mean over losses and seeds of each metric (None: undefined), in the order of the metrics."""

    case: str
    patient: str
    reference_mm3: float
    lesions: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Gathered:
    """What a report says. Curves and classes of sizes hold one entry per loss that has maps."""

    results: Results
    headline: tuple[str, str]
    metrics: tuple[MetricResult, ...]
    casework: Casework
    thresholds: tuple[tuple[str, float, tuple[CurvePoint, ...]], ...]
    calibration: tuple[tuple[str, Calibration], ...]
    detection: tuple[tuple[str, tuple[SizeClass, ...]], ...]
    loss_bands: tuple[Band, ...]
    epoch_bands: tuple[Band, ...]
    dead: tuple[Dead, ...]
    cards: tuple[LossCard, ...]
    cases: tuple[CaseRow, ...]
    false_mm3: dict[str, float | None]
    methods: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def comparisons(self) -> list[Comparison]:
        return [metric.comparison for metric in self.metrics]


def gather(results: Results, volumes: str | int, help: Help | None = None) -> Gathered:
    """Read the run; `volumes`: the cases that are kept whole for the viewer. Raises DataError for a damaged run."""
    first = results.metrics[0] if results.metrics else ""
    order = worst_first(results, first) if first else []
    whole = embedded(order, [case.name for case in results.cohort], volumes)
    worked_through = (help or Help()).later(work_through, results, first, whole)
    metrics = tuple(_metric(results, name) for name in results.metrics)
    comparisons = [metric.comparison for metric in metrics]
    cards = loss_cards(results)
    paired = all(
        d.pairing == "training" for c in comparisons[:1] for d in c.differences if d.loss != _seedless(results)
    )
    used = {trial.loss: float(trial.record.get("threshold", 0.5)) for trial in results.trials}
    casework = worked_through.result()
    mapped = [loss for loss in results.losses if casework.of(loss)]
    graded = [loss for loss in mapped if loss != _seedless(results)]
    empties = comparisons[0].empty_references if comparisons else ()
    return Gathered(
        results=results,
        headline=_headline(results, comparisons),
        metrics=metrics,
        casework=casework,
        thresholds=tuple((loss, used[loss], _curve(casework, loss)) for loss in graded),
        calibration=tuple((loss, calibration(casework.of(loss))) for loss in graded),
        detection=tuple((loss, tuple(casework.detected(loss, used[loss]))) for loss in mapped),
        loss_bands=loss_bands(results),
        epoch_bands=epoch_bands(results) if first else (),
        dead=dead_gradients(results),
        cards=cards,
        cases=_cases(results, casework, order),
        false_mm3={empty.loss: false_positive_mm3(results, empty.loss) for empty in empties},
        methods=methods(results, cards, paired=paired),
        sources=sources(results, cards),
    )


def _seedless(results: Results) -> str | None:
    return next((trial.loss for trial in results.trials if trial.method == DIFFERENCE_THRESHOLD), None)


def _metric(results: Results, name: str) -> MetricResult:
    return MetricResult(
        compare(results, name),
        facts(name).title,
        best_loss(results, name),
        class_results(results, name),
    )


def _headline(results: Results, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    if not comparisons:
        return (
            "No trial has ended well: there is nothing to compare yet.",
            f"{plural(len(results.failed), 'trial')} failed and {plural(len(results.missing), 'trial')} did not run.",
        )
    return answer(comparisons[0], primary=comparisons[0].metric == results.primary_metric)


def _curve(casework: Casework, loss: str) -> tuple[CurvePoint, ...]:
    """Means over the maps of cases with lesions: the others have no recall, and any false alarm gives them Dice 0."""
    counts = [over_thresholds(each) for each in casework.of(loss) if each.lesion.sum()]
    return tuple(mean_curve(counts)) if counts else ()


def _cases(results: Results, casework: Casework, order: Sequence[str]) -> tuple[CaseRow, ...]:
    """Worst first; cases without a value in the primary metric at the end."""
    import numpy as np

    means = []
    for metric in results.metrics:
        rows = headline_rows(results, metric)
        means.append(rows[np.isfinite(rows["penalised"])].groupby("case")["penalised"].mean().to_dict())
    known = {case.name: case for case in results.cohort}
    names = [name for name in order if name in known] + [name for name in known if name not in order]
    return tuple(
        CaseRow(
            case=name,
            patient=known[name].patient,
            reference_mm3=known[name].reference_mm3,
            lesions=len(casework.lesion_voxels.get(name, ())),
            values=tuple(float(mean[name]) if name in mean else None for mean in means),
        )
        for name in names
    )
