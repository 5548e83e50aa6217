"""The numbers behind figures and lists of the page: header and rows of each CSV table."""

import math
from dataclasses import astuple

from lesionloss.report.history import CurveBand
from lesionloss.report.report_content import ReportContent
from lesionloss.report.threshold_curves import SCORES, ThresholdPoint
from lesionloss.statistics.evidence import Interval
from lesionloss.statistics.rankings import Rankings

CsvValue = str | int | float | None
CsvRows = list[tuple[CsvValue, ...]]
CsvTable = tuple[tuple[str, ...], CsvRows]


def figure_tables(g: ReportContent) -> dict[str, CsvTable]:
    """The tables by name; those without numbers in this run are empty."""
    return {
        "variation": (("loss", *(c.metric for c in g.comparisons)), _variation(g)),
        "ranks": (("metric", "loss", "mean", "rank", "low", "high", "patients"), _ranks(g)),
        "rankings": (
            ("metric", "loss", "mean", "rank", "mean_rank", "rank_of_mean_ranks", "interquartile_mean", "low", "high"),
            [
                (
                    *(r.metric, x.loss, x.mean, x.rank, x.mean_rank, x.rank_of_ranks, x.middle),
                    *bound_values(x.middle_interval),
                )
                for r in _rankings(g)
                for x in r.losses
            ],
        ),
        "pairs": (
            ("metric", "loss", "other", "difference", "p", "verdict"),
            [(r.metric, *astuple(pair)) for r in _rankings(g) for pair in r.pairs],
        ),
        "profiles": (
            ("metric", "loss", "threshold", "share_of_patients"),
            [
                (r.metric, x.loss, float(threshold), float(share))
                for r in _rankings(g)
                for x, shares in zip(r.losses, r.profiles, strict=True)
                for threshold, share in zip(r.thresholds, shares, strict=True)
            ],
        ),
        "variance": (("metric", "source", "variance", "sd", "share", "levels"), _variance(g)),
        "classes": (("metric", "class", "loss", "mean", "low", "high", "patients_defined", "patients"), _classes(g)),
        "cases": (("case", "patient", "reference_mm3", "lesions", *g.results.metrics), _cases(g)),
        "thresholds": (
            ("loss", "threshold", *(f"{name}{of}" for name in SCORES for of in ("", "_low", "_high", "_patients"))),
            [_threshold(loss, point) for loss, _, curve in g.thresholds for point in curve],
        ),
        "calibration": (("loss", "above", "up_to", "voxels", "mean_probability", "lesion_share"), _calibration(g)),
        "detection-by-size": (
            ("loss", "above_mm3", "up_to_mm3", "lesions", "found", "patients", "difference", "low", "high"),
            _detection(g),
        ),
        "training": (("loss", "step", "mean", "low", "high", "training_runs"), _bands(g.loss_bands, ())),
        "epochs": (
            ("metric", "split", "fold", "loss", "epoch", "mean", "low", "high", "training_runs"),
            _bands((*g.epoch_bands, *g.fold_bands), ("metric", "split", "fold")),
        ),
        "best-epochs": (
            ("metric", "split", "loss", "fold", "best", "best_epoch", "best_seed", "last_epoch_all_seeds"),
            _best_epochs(g),
        ),
        "training-runs": (
            ("metric", "split", "loss", "fold", "seed", "epoch", "mean", "cases"),
            [astuple(run) for run in g.training_runs],
        ),
        "gradient-norms": (
            ("loss", "mean", "sd", "sd_over_mean", "training_runs"),
            [astuple(norm) for norm in g.gradient_norms],
        ),
        "gradients": (("loss", "probability", "lesion", "background"), _gradients(g)),
    }


def _rankings(g: ReportContent) -> list[Rankings]:
    return [metric.rankings for metric in g.metrics if metric.rankings is not None]


def _detection(g: ReportContent) -> CsvRows:
    """Lesions found by size; for all losses but the baseline, the difference of the patients' shares."""
    differences = {(d.loss, d.up_to_mm3): (d.patients, d.mean, *bound_values(d.interval)) for d in g.size_differences}
    nothing = (None, None, None, None)
    return [
        (loss, *astuple(size), *differences.get((loss, size.up_to_mm3), nothing))
        for loss, sizes in g.detection
        for size in sizes
    ]


def _ranks(g: ReportContent) -> CsvRows:
    return [
        (c.metric, rank.loss, rank.mean, rank.rank, rank.low, rank.high, rank.patients)
        for c in g.comparisons
        for rank in c.ranks
    ]


def _variance(g: ReportContent) -> CsvRows:
    return [(c.metric, *astuple(component)) for c in g.comparisons for component in c.components]


def _variation(g: ReportContent) -> CsvRows:
    rows = zip(*(c.summaries for c in g.comparisons), strict=True)
    return [(row[0].loss, *(summary.coefficient_of_variation for summary in row)) for row in rows]


def _classes(g: ReportContent) -> CsvRows:
    return [
        (
            *(metric.comparison.metric, one.name, each.loss, each.mean, *bound_values(each.interval)),
            *(each.patients_defined, each.patients),
        )
        for metric in g.metrics
        for one in metric.classes
        for each in one.losses
    ]


def _cases(g: ReportContent) -> CsvRows:
    return [(row.case, row.patient, row.reference_mm3, row.lesions, *row.values) for row in g.cases]


def _threshold(loss: str, point: ThresholdPoint) -> tuple[CsvValue, ...]:
    scores = (getattr(point, name) for name in SCORES)
    return loss, point.threshold, *(x for s in scores for x in (s.mean, *bound_values(s.interval), s.patients))


def _best_epochs(g: ReportContent) -> CsvRows:
    """One row per fold, and one with their means, which names no fold."""
    rows: CsvRows = []
    for found in g.best_results:
        start = (found.metric, found.split, found.loss)
        rows += [(*start, each.fold, each.best, each.epoch, each.seed, each.last) for each in found.folds]
        rows.append((*start, None, found.best, None, None, found.last))
    return rows


def _calibration(g: ReportContent) -> CsvRows:
    lines: CsvRows = []
    for loss, measured in g.calibration:
        bins = len(measured.voxels)
        for n in range(bins):
            means = (_defined(float(measured.probability[n])), _defined(float(measured.lesion[n])))
            lines.append((loss, n / bins, (n + 1) / bins, int(measured.voxels[n]), *means))
    return lines


def _bands(bands: tuple[CurveBand, ...], named: tuple[str, ...]) -> CsvRows:
    return [
        (*(getattr(band, name) for name in named), band.loss, place, mean, low, high, band.trials)
        for band in bands
        for place, mean, low, high in zip(band.place, band.mean, band.low, band.high, strict=True)
    ]


def _gradients(g: ReportContent) -> CsvRows:
    return [
        (card.loss, float(p), float(lesion), float(background))
        for card in g.cards
        if (curve := card.gradients)
        for p, lesion, background in zip(curve.probability, curve.lesion, curve.background, strict=True)
    ]


def bound_values(bounds: Interval | None) -> tuple[float | None, float | None]:
    """Both bounds of an interval; None without one."""
    return (None, None) if bounds is None else (bounds.low, bounds.high)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
