"""report.json: every number that the page shows, in full precision, in a form for programs."""

import json
import math
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from lesionloss.core.version import __version__
from lesionloss.report.facts_of_run import in_short, what_was_run
from lesionloss.report.gather import Gathered, MetricResult
from lesionloss.report.wording import difference_sentence

FORMAT = 1


def record(gathered: Gathered) -> dict[str, Any]:
    """The record, of plain values only: None where a number is undefined, "inf" where it is infinite."""
    g, results = gathered, gathered.results
    content = {
        "format": FORMAT,
        "lesionloss": __version__,
        "name": str(results.plan.get("name", results.folder.name)),
        "question": str(results.plan.get("question", "")),
        "headline": g.headline,
        "baseline": g.comparisons[0].baseline if g.metrics else "",
        "primary_metric": results.primary_metric,
        "losses": results.losses,
        "trials": {"ended": len(results.trials), "failed": len(results.failed), "missing": len(results.missing)},
        "metrics": [_metric(metric) for metric in g.metrics],
        "without_lesions": _without_lesions(g),
        "thresholds": [{"loss": loss, "used": used, "curve": curve} for loss, used, curve in g.thresholds],
        "calibration": [{"loss": loss, **asdict(measured)} for loss, measured in g.calibration],
        "detection": [{"loss": loss, "sizes": sizes} for loss, sizes in g.detection],
        "only_first_seeds_read": g.casework.seeds_left_out,
        "training_loss": g.loss_bands,
        "epochs": g.epoch_bands,
        "dead_gradients": g.dead,
        "cases": [asdict(row) | {"values": dict(zip(results.metrics, row.values, strict=True))} for row in g.cases],
        "volumes": [volume.facts for volume in g.casework.volumes],
        "pull": [{"loss": card.loss, **asdict(card.pull)} for card in g.cards if card.pull is not None],
        "failed": results.failed,
        "not_run": results.missing,
        "left_out": results.left_out,
        "problems": g.casework.problems,
        "in_short": in_short(results),
        "run": what_was_run(results),
        "methods": g.methods,
        "sources": g.sources,
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def as_json(content: dict[str, Any]) -> str:
    """Strict JSON text."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _metric(metric: MetricResult) -> dict[str, Any]:
    comparison = metric.comparison
    content = asdict(comparison)
    for entry, difference in zip(content["differences"], comparison.differences, strict=True):
        entry["evidence"], entry["sentence"] = difference.evidence, difference_sentence(difference)
    return content | {"title": metric.title, "best": metric.best, "classes": metric.classes}


def _without_lesions(g: Gathered) -> list[dict[str, Any]]:
    empties = g.comparisons[0].empty_references if g.metrics else ()
    return [asdict(empty) | {"false_mm3": g.false_mm3[empty.loss]} for empty in empties]


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
