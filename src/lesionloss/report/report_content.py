"""Everything that the page shows, collected once from a run: page, tables and report.json are written from it."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lesionloss.core.number_text import unit_text
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.report.answer import RunAnswer, answer_of_run
from lesionloss.report.case_maps import CaseMaps, read_case_maps
from lesionloss.report.case_slices import ChosenCase
from lesionloss.report.class_means import ClassResult, class_results, declared_weights
from lesionloss.report.declared_order import order_sentence
from lesionloss.report.embedded_cases import embedded, pictured
from lesionloss.report.history import (
    CurveBand,
    GradientNorm,
    VanishingGradient,
    epoch_bands,
    fold_bands,
    gradient_norms,
    loss_bands,
    vanishing_gradients,
)
from lesionloss.report.lesion_sizes import SizeDifference, size_differences
from lesionloss.report.loss_cards import LossCard, loss_cards
from lesionloss.report.loss_references import bibtex_of
from lesionloss.report.methods import methods, sources
from lesionloss.report.noise_wording import noise_floor_sentence
from lesionloss.report.probability_maps import Calibration, calibration, false_positive_mm3
from lesionloss.report.sensitivity import sensitivity_sentence
from lesionloss.report.settings_table import Setting, settings_table
from lesionloss.report.shown_intervals import within_limits
from lesionloss.report.threshold_curves import ThresholdPoint, threshold_curve
from lesionloss.report.training_runs import BestResult, TrainingRunScore, best_results, training_run_scores
from lesionloss.report.workers import ReportWorkers
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.statistics import Comparison, NoiseFloor, best_loss, compare_losses, measure_noise_floor
from lesionloss.statistics.comparison import with_baseline
from lesionloss.statistics.rankings import Rankings, rankings


@dataclass(frozen=True)
class MetricResult:
    """One metric: its scores, their comparison, the best loss; `classes` is empty for a run with one class.

    `rankings`: other views of a primary metric with three losses or more.
    """

    scores: MetricScores
    comparison: Comparison
    best: str | None
    classes: tuple[ClassResult, ...]
    rankings: Rankings | None = None

    @property
    def title(self) -> str:
        """The metric's title in tables and charts."""
        return self.scores.facts.title

    @property
    def axis_title(self) -> str:
        """The title with the unit."""
        unit = unit_text(self.comparison.unit)
        return f"{self.title} [{unit}]" if unit else self.title


@dataclass(frozen=True)
class CaseRow:
    """A case in the list: mean over losses and seeds of each metric (None: undefined), in the order of the metrics."""

    case: str
    patient: str
    reference_mm3: float
    lesions: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class ReportContent:
    """The content of a report. Curves, calibration and detection have one entry per loss that has maps."""

    results: Results
    answer: RunAnswer
    sensitivity: str
    noise_floor: NoiseFloor | None
    declared_order: str
    metrics: tuple[MetricResult, ...]
    case_maps: CaseMaps
    thresholds: tuple[tuple[str, float, tuple[ThresholdPoint, ...]], ...]
    calibration: tuple[tuple[str, Calibration], ...]
    detection: tuple[tuple[str, tuple[SizeClass, ...]], ...]
    size_differences: tuple[SizeDifference, ...]
    loss_bands: tuple[CurveBand, ...]
    epoch_bands: tuple[CurveBand, ...]
    fold_bands: tuple[CurveBand, ...]
    training_runs: tuple[TrainingRunScore, ...]
    best_results: tuple[BestResult, ...]
    vanishing: tuple[VanishingGradient, ...]
    gradient_norms: tuple[GradientNorm, ...]
    cards: tuple[LossCard, ...]
    cases: tuple[CaseRow, ...]
    false_positive_mm3: dict[str, float | None]
    methods: tuple[str, ...]
    sources: tuple[str, ...]
    settings: tuple[Setting, ...]
    bibtex: str

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentences under the answer."""
        return tuple(filter(None, (self.declared_order, self.sensitivity, noise_floor_sentence(self.noise_floor))))

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparison of each metric."""
        return [metric.comparison for metric in self.metrics]


def collect_content(results: Results, volumes: str | int, workers: ReportWorkers | None = None) -> ReportContent:
    """Read the run.

    Args:
        results: The run.
        volumes: The cases that go into the viewer; see `embedded_cases`.
        workers: Other processes that help.

    Raises:
        UsageError: `volumes` names no case.
        DataError: A file of the run is damaged.
    """
    first = results.metric_scores(results.metrics[0]) if results.metrics else None
    order = first.worst_first if first else ()
    in_viewer = embedded(order, [case.name for case in results.cohort], volumes)
    reading = (workers or ReportWorkers()).later(read_case_maps, results, first, in_viewer, _chosen(first, results))
    metrics = metric_results(results)
    cards = loss_cards(results)
    thresholds = {trial.loss: trial.threshold for trial in results.trials}
    maps = reading.result()
    mapped = [loss for loss in results.losses if maps.of(loss)]
    probable = {trial.loss for trial in results.trials if trial.has_probabilities} - results.untrained
    trained = [loss for loss in mapped if loss in probable]
    counts = maps.counts if all(trial.has_probabilities for trial in results.trials) else ()
    empties = metrics[0].comparison.empty_references if metrics else ()
    baseline = results.baseline_loss if mapped else ""
    patient_of = {case.name: case.patient for case in results.cohort}
    return ReportContent(
        results=results,
        answer=answer_of_run(results, metrics[0].comparison if metrics else None),
        declared_order=order_sentence(in_declared_order(results, metrics)),
        sensitivity=sensitivity_sentence(metrics[0].scores, counts) if metrics else "",
        noise_floor=measure_noise_floor(results, results.metrics[0]) if metrics else None,
        metrics=metrics,
        case_maps=maps,
        thresholds=tuple((loss, thresholds[loss], threshold_curve(maps.of(loss), patient_of)) for loss in trained),
        calibration=tuple((loss, calibration(maps.of(loss))) for loss in trained),
        detection=tuple((loss, tuple(maps.detected(loss, thresholds[loss]))) for loss in mapped),
        size_differences=size_differences(maps, thresholds, mapped, baseline, patient_of),
        loss_bands=loss_bands(results),
        epoch_bands=epoch_bands(results),
        fold_bands=fold_bands(results),
        training_runs=training_run_scores(results),
        best_results=best_results(results),
        vanishing=vanishing_gradients(results),
        gradient_norms=gradient_norms(results),
        cards=cards,
        cases=_cases(results, metrics, maps, order),
        false_positive_mm3={each.loss: false_positive_mm3(results, first, each.loss) for each in empties if first},
        methods=methods(results, cards, paired=_all_paired(results, metrics)),
        sources=sources(results, cards),
        settings=settings_table(results),
        bibtex=bibtex_of(cards),
    )


def _chosen(scores: MetricScores | None, results: Results) -> tuple[ChosenCase, ...]:
    """The cases of the figures, chosen by one rule for all losses."""
    if scores is None:
        return ()
    known = {case.name for case in results.cohort}
    ordered = [case for case in scores.worst_first if case in known]
    rule = f"of {len(ordered)} cases by {scores.facts.title}, averaged over all losses and seeds"
    return tuple(ChosenCase(case, role, rule) for role, case in pictured(ordered).items())


def metric_results(results: Results) -> tuple[MetricResult, ...]:
    """Every metric of a run, the primary one first."""
    return tuple(_metric(results, name) for name in results.metrics)


def in_declared_order(results: Results, metrics: Sequence[MetricResult]) -> list[Comparison]:
    """The comparisons of several primary metrics in their order; empty for a plan with one."""
    known = {metric.comparison.metric: metric.comparison for metric in metrics}
    return [known[name] for name in results.ordered_metrics]


def any_of(runs: Iterable[Sequence[MetricResult]]) -> dict[str, MetricResult]:
    """Every metric that a run has, by name, each as in the first run that has it."""
    found: dict[str, MetricResult] = {}
    for metric in itertools.chain.from_iterable(runs):
        found.setdefault(metric.comparison.metric, metric)
    return found


def _metric(results: Results, name: str) -> MetricResult:
    scores = with_baseline(results.metric_scores(name), None)
    comparison = within_limits(compare_losses(scores), scores.facts)
    primary = name in (results.primary_metric, *results.ordered_metrics)
    views = rankings(scores) if primary else None
    classes = class_results(scores, declared_weights(results.plan))
    return MetricResult(scores, comparison, best_loss(comparison.ranks), classes, views)


def _all_paired(results: Results, metrics: Sequence[MetricResult]) -> bool:
    """Whether all trained losses are proven to share weights and batches with the baseline."""
    differences = metrics[0].comparison.differences if metrics else ()
    return all(d.pairing == "training run" for d in differences if d.loss not in results.untrained)


def _cases(
    results: Results, metrics: Sequence[MetricResult], maps: CaseMaps, order: Sequence[str]
) -> tuple[CaseRow, ...]:
    """Worst first; cases without a value in the first metric at the end."""
    known = {case.name: case for case in results.cohort}
    names = [name for name in order if name in known] + [name for name in known if name not in order]
    return tuple(
        CaseRow(
            case=name,
            patient=known[name].patient,
            reference_mm3=known[name].reference_mm3,
            lesions=len(maps.lesion_voxels.get(name, np.zeros(0))),
            values=tuple(metric.scores.case_means.get(name) for metric in metrics),
        )
        for name in names
    )
