"""report.json: every number of the page in full precision, for programs."""

import json
import math
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from lesionloss.core.version import __version__
from lesionloss.report.class_means import mean_over_classes
from lesionloss.report.facts_of_run import run_facts, short_run_facts
from lesionloss.report.noise_wording import noise_floor_record
from lesionloss.report.report_content import MetricResult, ReportContent
from lesionloss.report.wording import difference_sentence

FORMAT = 2


def json_record(content: ReportContent) -> dict[str, Any]:
    """The record, of plain values only: None if a number is undefined, "inf" if it is infinite."""
    g, results = content, content.results
    fields = {
        "format": FORMAT,
        "lesionloss": __version__,
        "name": str(results.plan.get("name", results.folder.name)),
        "question": str(results.plan.get("question", "")),
        "verdict": g.answer.verdict,
        "headline": g.answer.headline,
        "declared_order": g.declared_order,
        "sensitivity": g.sensitivity,
        "noise_floor": noise_floor_record(g.noise_floor),
        "baseline": g.comparisons[0].baseline if g.metrics else "",
        "primary_metric": results.primary_metric,
        "losses": results.losses,
        "trials": {"ended": len(results.trials), "failed": len(results.failed), "missing": len(results.missing)},
        "metrics": [metric_record(metric) for metric in g.metrics],
        "without_lesions": _without_lesions(g),
        "thresholds": [{"loss": loss, "used": used, "curve": curve} for loss, used, curve in g.thresholds],
        "calibration": [{"loss": loss, **asdict(measured)} for loss, measured in g.calibration],
        "detection": [{"loss": loss, "sizes": sizes} for loss, sizes in g.detection],
        "size_differences": g.size_differences,
        "only_first_seeds_read": g.case_maps.seeds_left_out,
        "training_loss": g.loss_bands,
        "epochs": [*g.epoch_bands, *g.fold_bands],
        "training_runs": g.training_runs,
        "best_epochs": g.best_results,
        "vanishing_gradients": g.vanishing,
        "gradient_norms": g.gradient_norms,
        "cases": [asdict(row) | {"values": dict(zip(results.metrics, row.values, strict=True))} for row in g.cases],
        "volumes": [volume.facts for volume in g.case_maps.volumes],
        "gradients": [{"loss": card.loss, **asdict(card.gradients)} for card in g.cards if card.gradients is not None],
        "failed": results.failed,
        "not_run": results.missing,
        "left_out": results.left_out,
        "problems": g.case_maps.problems,
        "in_short": short_run_facts(results),
        "run": run_facts(results),
        "patients_in_training_and_test": sorted(results.shared_patients),
        "methods": g.methods,
        "sources": g.sources,
        "settings": g.settings,
        "bibtex": g.bibtex,
    }
    return plain_record(fields)


def as_json(record: dict[str, Any]) -> str:
    """Strict JSON text."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def metric_record(metric: MetricResult) -> dict[str, Any]:
    """One metric with all losses: summaries, differences with their sentences, ranks, classes."""
    comparison = metric.comparison
    record = asdict(comparison)
    for entry, difference in zip(record["differences"], comparison.differences, strict=True):
        entry["verdict"], entry["sentence"] = difference.verdict, difference_sentence(difference)
    over_classes = {loss: mean_over_classes(metric.classes, loss) for loss in metric.scores.losses if metric.classes}
    facts = {"title": metric.title, "best": metric.best, "classes": metric.classes}
    return record | facts | {"rankings": metric.rankings} | {"means_over_classes": [*over_classes.values()]}


def _without_lesions(g: ReportContent) -> list[dict[str, Any]]:
    empties = g.comparisons[0].empty_references if g.metrics else ()
    return [asdict(empty) | {"false_positive_mm3": g.false_positive_mm3[empty.loss]} for empty in empties]


def plain_record(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as values of JSON: None for an undefined number, "inf" for an infinite one."""
    plain: dict[str, Any] = _plain(fields)
    return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value) if math.isfinite(value) else "inf" if value > 0 else "-inf"
    return int(value) if isinstance(value, np.integer) else value
